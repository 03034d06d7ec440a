"""Text made uniform: Unicode NFC, one kind of line end, no controls, no trailing spaces, no runs of empty lines.

Nothing that a reader sees changes: accents, « guillemets », no-break spaces and ligatures stay.
"""

from __future__ import annotations

import re
import unicodedata

_LINE_ENDS = re.compile("\r\n|\r|\u2028|\u2029|\x85|\x0b|\x0c")
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff]")
"""Controls but tab and line ends; soft hyphen, zero-width space, word joiner, byte-order mark."""
_SUSPECT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u2028\u2029\u2060\ufeff]")
_TRAILING = re.compile("[ \t]+\n")
_EMPTY_LINES = re.compile("\n{3,}")


def clean(text: str) -> str:
    """The text made uniform; cleaning it again changes nothing. Most text only pays for the looking."""
    if _SUSPECT.search(text):
        text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    if " \n" in text or "\t\n" in text:
        text = _TRAILING.sub("\n", text)
    if "\n\n\n" in text:
        text = _EMPTY_LINES.sub("\n\n", text)
    return text.strip(" \t\n")
