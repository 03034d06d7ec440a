"""Pieces of a batch's text (words, lines) as arrays, and sums of anything over each document."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from clapas_data.text.glyphs import lower

BASE = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd (Knuth, TAOCP 3, 6.4)
_INVERSE = np.uint64(pow(int(BASE), -1, 2**64))
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # splitmix64 (Steele et al., 2014)


def mixed(values: np.ndarray) -> np.ndarray:
    """Each 64-bit value scattered over all bits, one to one: the finaliser of splitmix64."""
    values = values ^ (values >> np.uint64(30))
    values *= _MIX_1
    values ^= values >> np.uint64(27)
    values *= _MIX_2
    values ^= values >> np.uint64(31)
    return values


def powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` powers of the hashes' base and of its inverse, modulo 2^64: uint64[count] each."""
    global _POWERS
    if len(_POWERS[0]) < count:
        size = 1 << (count - 1).bit_length()
        _POWERS = (_powers_of(BASE, size), _powers_of(_INVERSE, size))
    return _POWERS[0][:count], _POWERS[1][:count]


def _powers_of(base: np.uint64, count: int) -> np.ndarray:
    table = np.full(count, base, np.uint64)
    table[0] = 1
    return np.multiply.accumulate(table)


_POWERS = (_powers_of(BASE, 1), _powers_of(_INVERSE, 1))


@dataclass(frozen=True)
class Spans:
    """Pieces of text in the order in which they stand.

    starts, lengths: int64[pieces], in characters of the batch's code points. hashes: uint64[pieces], of the lower-case
    characters: equal pieces have equal hashes in any batch, on any machine. bounds: int64[documents + 1], the first
    piece of each document.
    """

    starts: np.ndarray
    lengths: np.ndarray
    hashes: np.ndarray
    bounds: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """Pieces of each document: int64[documents]."""
        return np.diff(self.bounds)

    @cached_property
    def owners(self) -> np.ndarray:
        """The document of each piece: int64[pieces]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def reach(self) -> np.ndarray:
        """Characters of all pieces before each, one more a piece for what parts them: int64[pieces + 1]."""
        reach = np.zeros(len(self.lengths) + 1, np.int64)
        np.cumsum(self.lengths + 1, out=reach[1:])
        return reach

    @cached_property
    def characters(self) -> np.ndarray:
        """Characters of each document's pieces, one more a piece for what parts them: int64[documents]."""
        return self.reach[self.bounds[1:]] - self.reach[self.bounds[:-1]]

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum over each document of a value a piece: [documents], int64 for bools and integers, else float64."""
        return sums(values, self.bounds)

    def ngrams(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Hashes of all runs of `size` pieces within a document, uint64[runs], and the first piece of each, int64."""
        count = len(self.hashes) - size + 1
        if count <= 0:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64)
        runs = np.zeros(count, np.uint64)
        for step in range(size):  # a polynomial in the base, modulo 2^64: the order of the pieces counts
            runs *= BASE
            runs += self.hashes[step : step + count]
        whole = np.flatnonzero(self.owners[:count] == self.owners[size - 1 :])
        return mixed(runs[whole]), whole

    def ngrams_or_whole(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Hashes of all runs of `size` pieces, uint64[runs], and the document of each, int64, in the documents' order.

        A document of fewer pieces is one run of all of them: it equals only documents of the same pieces.
        """
        runs, firsts = self.ngrams(size)
        owners = self.owners[firsts]
        short = np.flatnonzero((self.counts > 0) & (self.counts < size))
        if not len(short):
            return runs, owners
        order = np.argsort(np.concatenate([owners, short]), kind="stable")
        return np.concatenate([runs, self._whole(short)])[order], np.concatenate([owners, short])[order]

    def _whole(self, documents: np.ndarray) -> np.ndarray:
        """A hash of all pieces of each of some documents, their number told too: uint64[documents]."""
        starts, counts = self.bounds[documents], self.counts[documents]
        hashes = np.zeros(len(documents), np.uint64)
        for place in range(int(counts.max())):
            has = counts > place
            hashes[has] = hashes[has] * BASE + self.hashes[starts[has] + place]
        return mixed(hashes + counts.astype(np.uint64))

    def ngrams_at(self, size: int, firsts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `ngrams`, of those runs alone that begin at some pieces, int64[n]."""
        ends = self.bounds[np.searchsorted(self.bounds, firsts, side="right")]
        firsts = firsts[firsts + size <= ends]
        runs = np.zeros(len(firsts), np.uint64)
        for step in range(size):
            runs *= BASE
            runs += self.hashes[firsts + step]
        return mixed(runs), firsts


def sums(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Sums of `values[bounds[i]:bounds[i + 1]]`; 0 for an empty range. bools and integers are summed as int64."""
    if values.dtype == bool:
        values = values.view(np.uint8)
    total = np.zeros(len(values) + 1, np.float64 if values.dtype.kind == "f" else np.int64)
    np.cumsum(values, out=total[1:])
    return total[bounds[1:]] - total[bounds[:-1]]


@lru_cache(maxsize=1)
def scattered() -> np.ndarray:
    """The 64-bit number that each code point's lower-case form adds to a hash: uint64[LAST + 1]."""
    return mixed(lower().astype(np.uint64) + BASE)


def running_hashes(known: np.ndarray) -> np.ndarray:
    """Running sums from which the hash of any piece of a text follows. known: code points up to glyphs.LAST.

    Character c_i adds scattered(c_i) B^i, modulo 2^64. Returns uint64[characters + 1].
    """
    terms = scattered().take(known)
    terms *= powers(max(1, len(known)))[0][: len(known)]
    running = np.zeros(len(known) + 1, np.uint64)
    np.cumsum(terms, out=running[1:])
    return running


def hashes_between(running: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Hashes of pieces of a text, uint64[pieces]: differences of its running sums, brought back to B^0."""
    values = running[starts + lengths] - running[starts]
    values *= powers(max(1, len(running)))[1][starts]
    values += lengths.astype(np.uint64)
    return mixed(values)
