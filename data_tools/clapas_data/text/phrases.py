"""Where phrases stand in a text: whole words, whatever their case and what stands between them but a line's end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clapas_data.text.batch import TextBatch
from clapas_data.text.spans import BASE

_SIEVE = np.uint64(0xFFFF)


class Phrases:
    """Phrases to look for: « Lire la suite » is three words; an apostrophe parts two."""

    def __init__(self, phrases: Sequence[str]) -> None:
        batch = TextBatch(phrases, ids=phrases)
        words = batch.words
        self._by_size: list[tuple[int, np.ndarray, np.ndarray]] = []
        for size in np.unique(words.counts[words.counts > 0]).tolist():
            numbers = np.flatnonzero(words.counts == size)
            hashes = _hashes(words.hashes, words.bounds[numbers], size)
            order = np.argsort(hashes)
            self._by_size.append((size, hashes[order], numbers[order]))
        self._sieve = np.zeros(int(_SIEVE) + 1, bool)
        self._sieve[words.hashes[words.bounds[:-1][words.counts > 0]] & _SIEVE] = True

    def find(self, batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
        """The first word of each place where one stands, and the number of the phrase: int64[places] each.

        They come phrase length by phrase length; a phrase is found in one line only.
        """
        words = batch.words
        likely = np.flatnonzero(self._sieve[(words.hashes & _SIEVE).astype(np.int64)])
        firsts, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for size, hashes, own in self._by_size:
            starts = likely[likely + size <= len(words.hashes)]
            found = _hashes(words.hashes, starts, size)
            places = np.minimum(np.searchsorted(hashes, found), len(hashes) - 1)
            equal = hashes[places] == found
            starts, places = starts[equal], places[equal]
            if size > 1:
                together = batch.line_of_words[starts] == batch.line_of_words[starts + (size - 1)]
                starts, places = starts[together], places[together]
            firsts.append(starts)
            numbers.append(own[places])
        return np.concatenate(firsts), np.concatenate(numbers)


def _hashes(words: np.ndarray, starts: np.ndarray, size: int) -> np.ndarray:
    """Hashes of runs of `size` words: uint64[starts]."""
    hashes = words[starts].copy()
    for step in range(1, size):
        hashes *= BASE
        hashes += words[starts + step]
    return hashes
