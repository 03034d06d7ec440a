"""Training documents too close to held-out ones: those that share much of their word n-grams with the held-out text.

A document's share is the fraction of its n-grams (repeats counted) that occur anywhere in the held-out text. Counting
against all held-out documents together leaves out at least what counting against each would. Words are lower-cased runs
of letters, digits and `_`; a document shorter than n words counts as one n-gram of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from clapas_data.text.batch import TextBatch

MOST_MARKS = 2**24
"""Bytes that a process keeps to tell n-grams apart."""


def ngram_index(texts: Iterable[str], words: int) -> np.ndarray:
    """The held-out text's n-grams: sorted distinct uint64 hashes."""
    grams = [_ngrams([text], words)[0] for text in texts]
    return np.unique(np.concatenate(grams)) if grams else np.zeros(0, np.uint64)


def marks_of(index: np.ndarray) -> np.ndarray:
    """Which low bits the n-grams of an index have, as bool[power of two]: tells most others apart without a search."""
    size = min(MOST_MARKS, max(2**12, 1 << (16 * len(index)).bit_length()))
    marks = np.zeros(size, bool)
    for start in range(0, len(index), 2**20):
        marks[index[start : start + 2**20] & np.uint64(size - 1)] = True
    return marks


def shared_fraction(texts: Sequence[str], words: int, index: np.ndarray, marks: np.ndarray | None = None) -> np.ndarray:
    """For each text, the fraction of its n-grams that the index holds: float64[texts]; 0 for a text without words.

    marks: `marks_of(index)`, where several batches are compared with it.
    """
    grams, owners = _ngrams(texts, words)
    if not len(index) or not len(grams):
        return np.zeros(len(texts))
    marks = marks_of(index) if marks is None else marks
    likely = np.flatnonzero(marks[grams & np.uint64(len(marks) - 1)])
    places = np.minimum(np.searchsorted(index, grams[likely]), len(index) - 1)
    total = np.bincount(owners, minlength=len(texts))
    shared = np.bincount(owners[likely[index[places] == grams[likely]]], minlength=len(texts))
    return shared / np.maximum(total, 1)


def _ngrams(texts: Sequence[str], words: int) -> tuple[np.ndarray, np.ndarray]:
    """All n-grams' hashes, uint64, and the text that each belongs to."""
    return TextBatch(texts, ids=[""] * len(texts)).words.ngrams_or_whole(words)
