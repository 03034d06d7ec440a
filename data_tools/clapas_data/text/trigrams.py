"""Trigrams of characters that a language hardly ever has: where they stand, a text was misread.

Characters fall into 64 symbols: the letters of French, whatever their case, each its own; other letters, digits, spaces
and kinds of punctuation one each. A trigram is rare where its third symbol follows the other two with a probability
under 2^-15 in reference text, smoothed by bigrams; only those with a letter at their second or third place count.
A table of such trigrams is 6 kB, and tells recognised text from its original better than a trigram or bigram model's
mean surprise, digits within words, single letters or broken lines do (docs/decisions/128-ocr-by-rare-trigrams.md).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from clapas_data.text.batch import TextBatch
from clapas_data.text.glyphs import DIGIT, LAST, LETTER, PUNCTUATION, SPACE, classes, lower

SYMBOLS = 64
LETTERS = "abcdefghijklmnopqrstuvwxyzàâäçéèêëîïôöùûüÿœæ"
FIRST_LETTER = 16
RARE = 2.0**-15
PRIOR = 5.0
"""How many times the shorter context is taken to have been seen."""
_KINDS = ("'’", "-‐–—", ".", ",", "()[]", '«»"“”', ";:!?", "%€/°|")
_SPACE, _OTHER, _OTHER_LETTER, _DIGIT, _PUNCTUATION, _FIRST_KIND = range(6)


@lru_cache(maxsize=1)
def symbols() -> np.ndarray:
    """The symbol of each code point: uint8[LAST + 1]."""
    table = np.full(LAST + 1, _OTHER, np.uint8)
    bits = classes()
    for bit, symbol in ((LETTER, _OTHER_LETTER), (DIGIT, _DIGIT), (PUNCTUATION, _PUNCTUATION), (SPACE, _SPACE)):
        table[(bits & bit) != 0] = symbol
    for number, kind in enumerate(_KINDS):
        table[[ord(character) for character in kind]] = _FIRST_KIND + number
    table[[ord(letter) for letter in LETTERS]] = FIRST_LETTER + np.arange(len(LETTERS))
    return table[lower()]


def trigrams(batch: TextBatch) -> np.ndarray:
    """The trigram that ends at each character from the third: int32[characters - 2]."""
    own = symbols().take(batch.known).astype(np.int32)
    return (own[:-2] << 12) | (own[1:-1] << 6) | own[2:]


def rare_trigrams(texts: Iterable[str]) -> np.ndarray:
    """Which trigrams reference text hardly has: bool[SYMBOLS ** 3]. texts: some megabytes."""
    counts = np.zeros(SYMBOLS**3, np.int64)
    for text in texts:
        if len(text) > 2:
            counts += np.bincount(trigrams(TextBatch([text], ids=[""])), minlength=SYMBOLS**3)
    three = counts.reshape(SYMBOLS, SYMBOLS, SYMBOLS)
    two = three.sum(axis=2)
    one = two.sum(axis=1)
    of_one = (one + 1) / (one.sum() + SYMBOLS)
    of_two = (two + PRIOR * of_one) / (two.sum(axis=1, keepdims=True) + PRIOR)
    of_three = (three + PRIOR * of_two) / (two[:, :, None] + PRIOR)
    letter = np.arange(SYMBOLS) >= FIRST_LETTER
    rare = (of_three < RARE) & (letter[None, :, None] | letter[None, None, :])
    rare[_SPACE, _SPACE, :] = rare[:, _SPACE, _SPACE] = False  # justified lines
    return rare.ravel()


def packed(table: np.ndarray) -> bytes:
    """A table as a file keeps it: one bit a trigram, deflated."""
    return zlib.compress(np.packbits(table).tobytes(), 9)


def unpacked(data: bytes) -> np.ndarray:
    """The table of `packed`: bool[SYMBOLS ** 3]."""
    return np.unpackbits(np.frombuffer(zlib.decompress(data), np.uint8)).astype(bool)


def unlikely_words(batch: TextBatch, rare: np.ndarray) -> np.ndarray:
    """How many words of each document have a rare trigram in them or at their end: int64[documents]."""
    words = batch.words
    if len(batch.codes) < 3 or not len(words.starts):
        return np.zeros(len(batch), np.int64)
    found = rare[trigrams(batch)]
    begins = batch.bounds[1:-1]
    for first in (begins - 2, begins - 1):  # they would begin in the document before
        found[first[(first >= 0) & (first < len(found))]] = False
    places = np.flatnonzero(found) + 2
    owners = np.searchsorted(words.starts, places, side="right") - 1
    owners = owners[owners >= 0]
    near = places[len(places) - len(owners) :] <= words.starts[owners] + words.lengths[owners]
    return words.total(np.bincount(owners[near], minlength=len(words.starts)) > 0)
