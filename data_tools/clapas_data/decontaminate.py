"""Training documents too close to held-out ones: those that share much of their word n-grams with the held-out text.

A document's share is the fraction of its n-grams (repeats counted) that occur anywhere in the held-out text. Counting
against all held-out documents together leaves out at least what counting against each would. Words are lower-cased runs
of letters, digits and `_`; a document shorter than n words counts as one n-gram of all of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

import numpy as np

_WORD = re.compile(r"\w+")
_MOST_WORDS = 2_000_000
"""Distinct words whose hashes a process keeps: about 250 MB."""
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd (Knuth, TAOCP 3, 6.4)


class _WordHashes(dict[str, int]):
    """Word -> 64-bit hash, the same in every process; computed once a word."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MOST_WORDS:
            self.clear()
        value = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = value
        return value


_word_hashes = _WordHashes()


def ngram_index(texts: Iterable[str], words: int) -> np.ndarray:
    """The held-out text's n-grams: sorted distinct uint64 hashes."""
    grams = [_ngrams([text], words)[0] for text in texts]
    return np.unique(np.concatenate(grams)) if grams else np.zeros(0, np.uint64)


def shared_fraction(texts: Sequence[str], words: int, index: np.ndarray) -> np.ndarray:
    """For each text, the fraction of its n-grams that the index holds: float64[texts]; 0 for a text without words."""
    grams, owners = _ngrams(texts, words)
    if not len(index) or not len(grams):
        return np.zeros(len(texts))
    places = np.minimum(np.searchsorted(index, grams), len(index) - 1)
    total = np.bincount(owners, minlength=len(texts))
    shared = np.bincount(owners[index[places] == grams], minlength=len(texts))
    return shared / np.maximum(total, 1)


def _ngrams(texts: Sequence[str], words: int) -> tuple[np.ndarray, np.ndarray]:
    """All n-grams' hashes, uint64, and the text that each belongs to."""
    found: list[str] = []
    lengths = np.zeros(len(texts), np.int64)
    for place, text in enumerate(texts):
        own = _WORD.findall(text.lower())
        if 0 < len(own) < words:
            own += [""] * (words - len(own))
        found += own
        lengths[place] = len(own)
    if len(found) < words:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    hashes = np.fromiter(map(_word_hashes.__getitem__, found), np.uint64, len(found))
    owners = np.repeat(np.arange(len(texts)), lengths)
    count = len(found) - words + 1
    grams = np.zeros(count, np.uint64)
    for step in range(words):  # a polynomial in _MIX, modulo 2^64: the order of the words counts
        grams = grams * _MIX + hashes[step : step + count]
    grams ^= grams >> np.uint64(32)
    whole = owners[:count] == owners[words - 1 :]
    return grams[whole], owners[:count][whole]
