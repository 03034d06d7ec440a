"""JATS, the XML of journal articles (NISO Z39.96): title, abstract and body, formulas as LaTeX where they are given.

Left out: references, footnotes, contributors, figures (their captions stay), numbers in the text that point to
references, abstracts in other languages than the article's.
"""

from __future__ import annotations

from collections.abc import Iterator

from clapas_data.formats.document import Document
from clapas_data.formats.xml import Element, Layout, find, local_name, parse_xml, require, value

_MARKS = frozenset({"bibr", "fn", "table-fn"})
"""Kinds of `xref` whose text is only a number or a sign."""


def read_jats(data: bytes, name: str) -> Iterator[Document]:
    """An article as one document; its id is its DOI, else the first of its ids."""
    root = parse_xml(data, name)
    require(root, "article", name, "jats")
    meta = find(root, "front", "article-meta")
    ids = {} if meta is None else {c.get("pub-id-type", ""): value(c) for c in meta if local_name(c) == "article-id"}
    title = None if meta is None else find(meta, "title-group", "article-title")
    abstract = None if meta is None else find(meta, "abstract")
    doi = ids.get("doi", "")
    identifier = doi or next(iter(ids.values()), "")
    text = _LAYOUT.text(title, abstract, find(root, "body"))
    yield Document(identifier, text, f"https://doi.org/{doi}" if doi else "")


def _formula(element: Element) -> str:
    tex = next((node for node in element.iter("{*}tex-math")), None)
    content = value(tex)
    if "\\begin{document}" in content:  # a whole LaTeX file around the formula, as some publishers write
        content = content.partition("\\begin{document}")[2].partition("\\end{document}")[0]
    content = content.strip().strip("$").strip()
    return f"${content}$" if content else ""


def _pointer(element: Element) -> str:
    return "" if element.get("ref-type") in _MARKS else "".join(map(str, element.itertext(with_tail=False)))


_LAYOUT = Layout(
    skipped=("ref-list", "fn-group", "fn", "graphic", "media", "inline-graphic", "object-id", "supplementary-material"),
    blocks=frozenset(
        {
            "p",
            "title",
            "article-title",
            "sec",
            "abstract",
            "body",
            "list",
            "list-item",
            "disp-quote",
            "caption",
            "label",
        }
        | {
            "fig",
            "table-wrap",
            "table",
            "tbody",
            "thead",
            "disp-formula",
            "def-list",
            "def-item",
            "boxed-text",
            "break",
        }
        | {"verse-group", "verse-line", "label", "break", "subtitle", "trans-title"}
    ),
    drawn={"inline-formula": _formula, "disp-formula": _formula, "xref": _pointer},
)
