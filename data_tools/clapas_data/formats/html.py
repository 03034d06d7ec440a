"""HTML as readable text: one line a paragraph, a heading, a list item or a table row.

Line breaks follow the page's blocks, never the source's own line ends; no-break spaces stay (French typography needs
them before `;:!?` and inside « »). Parsing by selectolax (Lexbor).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from clapas_data.formats.document import Document
from clapas_data.formats.plain import decode

SKIPPED = frozenset({"script", "style", "noscript", "template", "svg", "iframe", "head", "-comment", "_comment"})
BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "br", "button", "caption", "center", "dd", "details", "div"}
    | {"dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header"}
    | {"hr", "legend", "li", "main", "nav", "ol", "option", "p", "pre", "section", "summary", "table", "tbody"}
    | {"tfoot", "thead", "ul"}
)
CELLS = frozenset({"td", "th"})
CELL_SEPARATOR = " | "

_SPACES = re.compile(r"[ \t\n\r\f\v]+")  # what HTML collapses: a no-break space is not in it


class TextFlow:
    """Text as it flows down a page: pieces joined on a line, lines broken where blocks begin and end."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._row_depth = 0

    def add(self, text: str) -> None:
        """A run of text of the current line."""
        self._line.append(text)

    def break_line(self) -> None:
        """End the line; within a table row, blocks only part words."""
        if self._row_depth:
            self._line.append(" ")
            return
        text = _SPACES.sub(" ", "".join(self._line)).strip(" ")
        self._line.clear()
        if text:
            self._lines.append(text)

    def open_row(self) -> None:
        """Begin a table row: its cells share a line."""
        self.break_line()
        self._row_depth += 1

    def close_row(self) -> None:
        """End a table row, without the separators of empty cells at its ends."""
        self._row_depth -= 1
        if not self._row_depth:
            cells = [_SPACES.sub(" ", cell).strip(" ") for cell in "".join(self._line).split("\x1f")]
            while cells and not cells[-1]:
                cells.pop()
            self._line = [CELL_SEPARATOR.join(cells[1:] if cells and not cells[0] else cells)]
            self.break_line()

    def open_cell(self) -> None:
        """Part a cell from the one before it."""
        self._line.append("\x1f" if self._row_depth else " ")

    def text(self) -> str:
        """The lines so far."""
        self._row_depth = 0
        self.break_line()
        return "\n".join(self._lines)


def read_html(data: bytes, name: str) -> Iterator[Document]:
    """A page as one document."""
    yield Document("", html_to_text(decode(data, name)))


def html_to_text(html: str) -> str:
    """The text of a page or of a fragment."""
    if "<" not in html and "&" not in html:
        return _SPACES.sub(" ", html).strip(" ")
    body = LexborHTMLParser(html).body
    flow = TextFlow()
    # Nodes to enter and what to do on leaving one: a stack, for pages nest deeper than Python recurses.
    stack: list[LexborNode | Callable[[], None]] = [] if body is None else [body]
    while stack:
        node = stack.pop()
        if not isinstance(node, LexborNode):
            node()
            continue
        if node.next is not None and node is not body:
            stack.append(node.next)
        leave = _enter(flow, node)
        if leave is None:
            continue
        stack.append(leave)
        if node.child is not None:
            stack.append(node.child)
    return flow.text()


def _enter(flow: TextFlow, node: LexborNode) -> Callable[[], None] | None:
    """Enter a node: write what precedes its children. Returns what to do after them, None where they are not read."""
    tag = node.tag
    if tag == "-text":
        flow.add(node.text_content or "")
        return None
    if tag in SKIPPED:
        return None
    if tag == "tr":
        flow.open_row()
        return flow.close_row
    if tag in CELLS:
        flow.open_cell()
        return _nothing
    if tag in BLOCKS:
        flow.break_line()
        return flow.break_line
    return _nothing


def _nothing() -> None:
    pass
