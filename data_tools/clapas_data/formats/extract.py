"""Text out of a source's files and rows: which extractor is which.

A file extractor takes a whole file and yields its documents; a text extractor takes the text field of one row.
"""

from __future__ import annotations

from collections.abc import Iterator

from clapas.recipe.errors import UserError
from clapas_data.formats import dila, jats, man, socialgouv, tei
from clapas_data.formats.document import Document, FileExtractor
from clapas_data.formats.html import html_to_text, read_html
from clapas_data.formats.page import page_text, read_page
from clapas_data.formats.plain import read_plain

FILE_EXTRACTORS: dict[str, FileExtractor] = {
    "plain": read_plain,
    "html": read_html,
    "page": read_page,
    "man": man.read_man,
    "jats": jats.read_jats,
    "tei": tei.read_tei,
    "legi-xml": dila.read_legi,
    "jade": dila.read_jade,
    **socialgouv.EXTRACTORS,
}

PACKAGES: dict[str, str] = {"page": "trafilatura", **dict.fromkeys(("html", *socialgouv.EXTRACTORS), "selectolax")}
"""Whose rules decide what an extractor finds: another version may give another text."""


def extract_text(how: str, text: str, url: str = "") -> str:
    """The text of one row's field. how: `plain`, `html` or `page`; url: of the page."""
    if how == "page":
        return page_text(text, url)
    return html_to_text(text) if how == "html" else text


def extract_file(how: str, data: bytes, name: str) -> Iterator[Document]:
    """The documents of one file. Raises UserError, naming the file, where it is not what `how` reads."""
    try:
        for document in FILE_EXTRACTORS[how](data, name):
            if wrong := [value for value in document if not isinstance(value, str)]:
                raise TypeError(f"no text: {wrong[0]!r:.60}")
            yield document
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise UserError(
            f"not a file that `{how}` reads",
            where=name,
            found=f"{type(error).__name__}: {error}",
            way_out="set `extract:` of the source",
        ) from None
