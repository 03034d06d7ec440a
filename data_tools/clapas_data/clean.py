"""Text made uniform: Unicode NFC, one kind of line end, no controls, no trailing spaces, no runs of empty lines.

Nothing that a reader sees changes: accents, « guillemets », no-break spaces, ligatures and the joiners of emoji and of
Arabic or Indic scripts stay. What only a machine sees goes: controls, zero-width spaces, orders to write backwards, and
the tag characters in which text hides from readers; the marks that place Arabic or Hebrew within French stay.
"""

from __future__ import annotations

import re
import unicodedata

_LINE_ENDS = re.compile("\r\n|\r|\u2028|\u2029|\x85|\x0b|\x0c")
_INVISIBLE = re.compile(
    "(\U0001f3f4[\U000e0020-\U000e007e]{1,16}\U000e007f)"
    "|[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u202a-\u202e\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb]"
    "|[\U000e0000-\U000e007f]"
)
"""Controls but tab and line ends; soft hyphen, zero-width space, word joiner, invisible operators, byte-order mark;
embeddings and overrides of direction (U+202A to U+202E: a right-to-left override makes "gnp.exe" read "exe.png"),
annotation marks; tag characters but those of a flag (a black flag, then its region: Scotland)."""
_SUSPECT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u2028-\u202e\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_TRAILING = re.compile("[ \t]+\n")
_EMPTY_LINES = re.compile("\n{3,}")


def clean(text: str) -> str:
    """The text made uniform; cleaning it again changes nothing. Most text only pays for the looking."""
    if _SUSPECT.search(text):
        text = _INVISIBLE.sub(_flag, _LINE_ENDS.sub("\n", text))
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    if " \n" in text or "\t\n" in text:
        text = _TRAILING.sub("\n", text)
    if "\n\n\n" in text:
        text = _EMPTY_LINES.sub("\n\n", text)
    return text.strip(" \t\n")


def _flag(found: re.Match[str]) -> str:
    return found[1] or ""
