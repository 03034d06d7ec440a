"""TEI, the XML of editions and of scholarly articles (https://tei-c.org): the text as a reader is meant to read it.

Of a choice, the regularised, corrected, expanded form; no header, apparatus, notes, running titles or page numbers.
A `teiCorpus` gives a document for each TEI in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from clapas_data.formats.document import Document
from clapas_data.formats.xml import Element, Layout, find, local_name, parse_xml, require, value

_XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
_PREFERRED = ("reg", "corr", "expan")


def read_tei(data: bytes, name: str) -> Iterator[Document]:
    """The texts of a file, each with its title. Ids: `idno`, else `xml:id`, else the file's name."""
    root = parse_xml(data, name)
    if local_name(root) != "teiCorpus":
        require(root, "TEI", name, "tei")
    for tei in root.iter("{*}TEI"):
        header = find(tei, "teiHeader", "fileDesc")
        identifier = "" if header is None else value(find(header, "publicationStmt", "idno"))
        title = None if header is None else find(header, "titleStmt", "title")
        texts = [find(text, part) for text in tei if local_name(text) == "text" for part in ("front", "body")]
        yield Document(identifier or tei.get(_XML_ID, ""), _LAYOUT.text(title, *texts))


def _choice(element: Element) -> str:
    """The regularised, corrected or expanded reading, else the first."""
    readings = [child for child in element if isinstance(child.tag, str)]
    chosen = next((child for child in readings if local_name(child) in _PREFERRED), next(iter(readings), None))
    return "" if chosen is None else _LAYOUT.text(chosen)


def _line_break(element: Element) -> str:
    return "" if element.get("break") == "no" else " "


_LAYOUT = Layout(
    skipped=("teiHeader", "note", "fw", "figDesc", "graphic", "app", "listBibl", "del", "gap", "back", "facsimile"),
    blocks=frozenset(
        {"p", "head", "div", "div1", "div2", "div3", "lg", "l", "sp", "speaker", "stage", "list", "item", "quote"}
        | {"title", "titlePart", "docTitle", "docAuthor", "byline", "opener", "closer", "salute", "signed", "dateline"}
        | {"figure", "table", "ab", "epigraph", "trailer", "argument", "castList", "castItem", "body", "front"}
    ),
    drawn={"choice": _choice, "lb": _line_break, "pb": lambda _: "", "cb": lambda _: ""},
)
