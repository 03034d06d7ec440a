"""What a detector finds, and the patterns that several detectors share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, get_args

Kind = Literal["nir", "ins", "phone", "email", "ip", "iban", "card", "address", "birth_date", "rpps", "ipp", "person"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Finding(NamedTuple):
    """A value of `kind` at `text[start:stop]`."""

    kind: Kind
    start: int
    stop: int


Detector = Callable[[str], Iterable[Finding]]

GAP = r"(?>\s{0,2}[.\-‐‑–/·_]?\s{0,2})"
"""What may stand between two digits of one number: spaces (no-break ones and a line's end too) around one sign.

Atomic: two spaces can be split in three ways, and thirteen gaps in three to the thirteenth.
"""

LONG_NUMBER = re.compile(
    r"[0-9](?![0-9]{3}-[0-9]{1,4}\b)(?:[0-9OABab\s.\-‐‑–/·_()]{7,90}[0-9]"
    r"|[0-9][ .\-\u00a0][0-9]{2}[ .\-\u00a0][0-9]{2}(?![0-9]))"
)
"""Where a text may have a number of eight digits and more, or three pairs: most documents have none, and need no
further look.

A law's or decree's number (2017-1340) is none; the letters are Corsica's, and the O that people and OCR write for a
zero.
"""

_NOT_DIGITS = re.compile(r"\D+")


def has_any(text: str, words: tuple[str, ...]) -> bool:
    """Whether a text has one of some words: a loop, which costs a third of `any` over a generator."""
    for word in words:  # noqa: SIM110
        if word in text:
            return True
    return False


def digits_of(text: str) -> str:
    """The digits of a text, 0-9 each."""
    return _NOT_DIGITS.sub("", text)


def is_asked_for(label: re.Pattern[str], text: str, start: int, reach: int = 40) -> bool:
    """Whether `label` matches in the `reach` characters before `start`, and nothing between says that it is over."""
    before = text[max(0, start - reach) : start]
    ends = [found.end() for found in label.finditer(before)]
    return bool(ends) and not _OVER.search(before, ends[-1])


_OVER = re.compile(r"[.;]\s+[A-ZÀ-Ý]|\n\s*\n|\d{4}")
"""A sentence or paragraph ends, or another number stands there: the label belongs to that."""
