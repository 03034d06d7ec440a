"""The main text of a web page, without menus, sidebars and comments: trafilatura, told to favour precision.

A page in which it finds no main text gives none: it is counted as read and dropped. Falling back on all text of the
page would bring back just those that are only menus. Scripts and styles never are text.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, lookup
from collections.abc import Iterator

from clapas_data.formats.document import Document
from clapas_data.optional import needs

_CHARSET = re.compile(rb"""charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.I)
_OF_THE_WEB = (
    *("utf-8", "utf-16", "iso8859-", "cp125", "cp866", "cp874", "koi8-", "mac-roman", "mac-cyrillic"),
    *("gb", "big5", "euc_", "iso2022_jp", "shift_jis"),
)
"""Python's names of the encodings that browsers know (https://encoding.spec.whatwg.org/#names-and-labels). Others that
Python knows are no encodings of pages, and some (UTF-7, unicode_escape) give what is no text at all."""
META_BYTES = 2048
"""Where a page may declare its encoding: HTML says the first 1,024 bytes, browsers look a little further."""


_SPACE = r"&nbsp;|&#160;|&#xa0;|\u00a0"
_NARROW = r"&#8239;|&#x202f;|\u202f"
_NO_BREAK = re.compile(rf"(?<=[^\s<>])(?:({_SPACE})|{_NARROW})(?!{_SPACE}|{_NARROW}|[\s<>]|$)", re.I)
"""A no-break space between two characters: French typography, not layout."""
STAND_INS = {"\u2800": "\u00a0", "\U0001d159": "\u202f"}
"""Blank characters that trafilatura lets pass, where it makes plain spaces of no-break ones -> what they stand for."""


def read_page(data: bytes, name: str) -> Iterator[Document]:
    """A saved page as one document, in the encoding that it declares."""
    yield Document("", page_text(decode_page(data)))


def page_text(html: str, url: str = "") -> str:
    """The main text of a page: a line a paragraph, heading, list item or table row; empty where there is none."""
    with needs("trafilatura", "`extract: page`"):
        from trafilatura import extract

    if not html.strip():
        return ""
    space, narrow = STAND_INS
    html = _NO_BREAK.sub(lambda found: space if found[1] else narrow, html)
    text = extract(html, url=url or None, favor_precision=True, include_comments=False, include_tables=True) or ""
    return text.translate(str.maketrans(STAND_INS))


def decode_page(data: bytes, content_type: str = "") -> str:
    """A page's characters: UTF-8 where it is that, else as its server or the page declares, else as Windows-1252.

    That is the web's own default for what declares nothing. Bytes that the encoding does not have become U+FFFD.
    """
    for mark, encoding in ((BOM_UTF8, "utf-8-sig"), (BOM_UTF16_LE, "utf-16"), (BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    for place in (content_type.encode("ascii", "replace"), data[:META_BYTES]):
        found = _CHARSET.search(place)
        if found and (encoding := _known(found[1].decode("ascii"))):
            return data.decode(encoding, "replace")
    return data.decode("cp1252", "replace")


def _known(encoding: str) -> str | None:
    """A web encoding's name in Python; None for what is none. HTML takes Latin-1 and ASCII to mean Windows-1252."""
    try:
        name = lookup(encoding).name
    except (LookupError, ValueError):
        return None
    if name in ("iso8859-1", "ascii"):
        return "cp1252"
    return name if name.startswith(_OF_THE_WEB) else None
