"""What each character is, as tables over code points: a batch of text is classified by one look-up, without a loop."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np

LETTER, DIGIT, SPACE, NEWLINE, PUNCTUATION, UPPER, SYMBOL, WORD = (1 << bit for bit in range(8))
"""Bits of a character's class. LETTER: Unicode L and M (a combining accent belongs to its letter); DIGIT: N; SPACE: as
`str.isspace`; PUNCTUATION: P; UPPER: Lu and Lt; SYMBOL: S; WORD: what a word is made of, a letter, a digit or `_`."""

LAST = 0x2FFFF
"""The planes that hold letters end here; what lies above (tags, private use) belongs to no class."""


@lru_cache(maxsize=1)
def classes() -> np.ndarray:
    """Class bits of each code point: uint8[LAST + 1]."""
    table = np.zeros(LAST + 1, np.uint8)
    for code in range(LAST):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Cn":
            continue
        bits = {"L": LETTER | WORD, "M": LETTER | WORD, "N": DIGIT | WORD, "P": PUNCTUATION, "S": SYMBOL}.get(
            category[0], 0
        )
        if category in ("Lu", "Lt"):
            bits |= UPPER
        if character.isspace():
            bits |= SPACE
        table[code] = bits
    table[ord("\n")] |= NEWLINE
    table[ord("_")] |= WORD
    return table


@lru_cache(maxsize=1)
def lower() -> np.ndarray:
    """The lower-case form of each code point, itself where it has none of one character: uint32[LAST + 1]."""
    table = np.arange(LAST + 1, dtype=np.uint32)
    for code in np.flatnonzero(classes() & UPPER):
        form = chr(code).lower()
        if len(form) == 1:
            table[code] = ord(form)
    return table


def one_of(characters: str) -> np.ndarray:
    """Which code points are among some characters: bool[LAST + 1]."""
    table = np.zeros(LAST + 1, bool)
    table[[ord(character) for character in characters]] = True
    return table
