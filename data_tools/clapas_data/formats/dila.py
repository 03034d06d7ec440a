"""The XML of the French state's legal data (DILA, https://echanges.dila.gouv.fr/OPENDATA/): LEGI and JADE.

LEGI holds every version of every article since 1945: those in force are read, for the others repeat them almost word
for word. JADE holds the decisions of administrative courts; they name people, although not the parties.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.formats.document import Document
from clapas_data.formats.html import html_to_text
from clapas_data.formats.xml import Element, Layout, find, parse_xml, require, value

LEGIFRANCE = "https://www.legifrance.gouv.fr"
IN_FORCE = ("VIGUEUR", "ABROGE_DIFF")
"""An article's ETAT: in force, and in force until a date that is set."""
_ESCAPED = re.compile(r"<(?:br|p|div|table|b|i)\b[^<>]*>")
"""HTML that a file holds as characters, not as elements: some do."""
_LAYOUT = Layout(skipped=("IMG", "img", "script", "style"))


def read_legi(data: bytes, name: str) -> Iterator[Document]:
    """An article of law (`LEGIARTI*.xml`): its text, then its nota; none where it is not in force."""
    root = parse_xml(data, name)
    require(root, "ARTICLE", name, "legi-xml")
    if value(find(root, "META", "META_SPEC", "META_ARTICLE", "ETAT")) not in IN_FORCE:
        return
    identifier = _identifier(root)
    text = _text(find(root, "BLOC_TEXTUEL", "CONTENU"), find(root, "NOTA", "CONTENU"))
    yield Document(identifier, text, f"{LEGIFRANCE}/loda/article_lc/{identifier}")


def read_jade(data: bytes, name: str) -> Iterator[Document]:
    """A decision of an administrative court (`CETATEXT*.xml`): its title, then its text."""
    root = parse_xml(data, name)
    require(root, "TEXTE_JURI_ADMIN", name, "jade")
    identifier = _identifier(root)
    title = find(root, "META", "META_SPEC", "META_JURI", "TITRE")
    text = _text(title, find(root, "TEXTE", "BLOC_TEXTUEL", "CONTENU"))
    yield Document(identifier, text, f"{LEGIFRANCE}/ceta/id/{identifier}")


def _text(*roots: Element | None) -> str:
    lines = _LAYOUT.text(*roots).split("\n")
    return "\n".join(html_to_text(line) if _ESCAPED.search(line) else line for line in lines)


def _identifier(root: Element) -> str:
    return value(find(root, "META", "META_COMMUN", "ID"))
