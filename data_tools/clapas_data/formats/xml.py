"""XML, read so that no file can do harm: no entity is expanded, no DTD loaded, nothing fetched, no tree without bounds.

libxml2 refuses text nodes over 10 MB and nesting over 256 levels; entities that a file declares itself stay references
and are dropped (no "billion laughs", no file of ours read), those that HTML names (`&eacute;`) are their characters.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from clapas.recipe.errors import UserError
from clapas_data.formats.html import BLOCKS, CELLS, TextFlow
from clapas_data.optional import needs

Element = Any
"""An `lxml.etree` element: lxml has no types of its own, and is imported where a file is parsed."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a format's elements flow as text: what is left out, what begins a line, what a table's rows and cells are.

    drawn: elements whose text is their own function's, such as formulas.
    """

    skipped: Collection[str] = ()
    blocks: Collection[str] = BLOCKS
    rows: Collection[str] = ("tr", "row")
    cells: Collection[str] = (*CELLS, "cell")
    drawn: dict[str, Callable[[Element], str]] | None = None

    def text(self, *roots: Element | None) -> str:
        """The text of elements, one after another, a line a paragraph."""
        flow = TextFlow()
        for root in roots:
            if root is not None:
                flow.break_line()
                self._enter(flow, root)
        return flow.text()

    def _enter(self, flow: TextFlow, element: Element) -> None:
        name = local_name(element)
        if name in self.skipped:
            return
        if self.drawn and name in self.drawn:
            flow.add(self.drawn[name](element))
            return
        row, block = name in self.rows, name in self.blocks
        if row:
            flow.open_row()
        elif name in self.cells:
            flow.open_cell()
        elif block:
            flow.break_line()
        flow.add(element.text or "")
        for child in element:
            if isinstance(child.tag, str):
                self._enter(flow, child)
            else:  # a reference to an entity: there are no comments and instructions, for the parser drops them
                flow.add(_character(child.text or ""))
            flow.add(child.tail or "")
        if row:
            flow.close_row()
        elif block:
            flow.break_line()


def parse_xml(data: bytes, name: str) -> Element:
    """The root of an XML file. Raises UserError, with file and line, where it is not well-formed or is an attack."""
    with needs("lxml", "reading XML"):
        from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - it has no stubs

    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        message = (error.msg or "not XML").partition("\n")[0]
        raise UserError(f"not sound XML: {message}", where=f"{name}:{error.lineno or 1}") from None


def local_name(element: Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def find(root: Element, *path: str) -> Element | None:
    """The first element that a path of local names leads to, child by child, whatever the namespaces."""
    here: Element | None = root
    for step in path:
        here = None if here is None else next((child for child in here if local_name(child) == step), None)
    return here


def require(root: Element, wanted: str, name: str, how: str) -> None:
    """Raise UserError where a file's root is another element than its extractor reads."""
    if local_name(root) != wanted:
        raise UserError(
            f"not a file that `{how}` reads",
            where=name,
            found=f"<{local_name(root)}>",
            wanted=f"<{wanted}>",
            way_out="set `extract:` of the source, or narrow its `pattern:`",
        )


def value(element: Element | None) -> str:
    """An element's own text, without that of elements in it."""
    return "" if element is None else (element.text or "").strip()


def _character(reference: str) -> str:
    """The character that HTML gives an entity's name (`&eacute;`); nothing for a name that the file made up."""
    found = html.unescape(reference)
    return "" if found == reference else found
