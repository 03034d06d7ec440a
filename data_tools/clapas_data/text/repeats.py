"""Which pieces of a document (lines, paragraphs, runs of words) stand in it more than once.

All by sorting: no loop over documents or pieces. The place of a piece rides in the low bits of the number that is
sorted, so one fast sort of values gives the groups, each in the order of the text; that the high bits of the hashes
met by chance is checked, and mended where it happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clapas_data.text.spans import BASE, Spans, mixed

BLOCK = 1 << 12
"""Pieces that are sorted together, or those of one document: 32 kB of numbers."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Equal pieces of the same document, together.

    order: int64[pieces], places of the pieces, group after group, each in the order of the text.
    begins: int64[groups + 1], where each group begins in `order`.
    """

    order: np.ndarray
    begins: np.ndarray

    @property
    def firsts(self) -> np.ndarray:
        """The first piece of each group: int64[groups]."""
        return self.order[self.begins[:-1]]

    @property
    def sizes(self) -> np.ndarray:
        """Pieces of each group: int64[groups]."""
        return np.diff(self.begins)

    @property
    def later(self) -> np.ndarray:
        """The pieces that stood earlier in their document, sorted: int64."""
        again = np.ones(len(self.order), bool)
        again[self.firsts] = False
        return np.flatnonzero(again)


def groups(hashes: np.ndarray, owners: np.ndarray) -> Groups:
    """Pieces grouped by document and hash.

    hashes: uint64[pieces], spread over all bits. owners: int64[pieces], the document of each, in order.
    """
    count = len(hashes)
    keys = hashes ^ mixed(np.arange(owners[-1] + 1 if count else 0, dtype=np.uint64))[owners]
    bits = np.uint64(max(1, count).bit_length())
    places = (np.uint64(1) << bits) - np.uint64(1)
    packed = (keys & ~places) | np.arange(count, dtype=np.uint64)
    _sort_documents(packed, owners)
    order = (packed & places).astype(np.int64)
    packed >>= bits
    new = np.ones(count + 1, bool)
    np.not_equal(packed[1:], packed[:-1], out=new[1:-1])
    begins = np.flatnonzero(new)
    sorted_keys = keys[order]
    if not np.array_equal(sorted_keys[1:] != sorted_keys[:-1], new[1:-1]):  # high bits met by chance
        order = np.argsort(keys, kind="stable")
        sorted_keys = keys[order]
        np.not_equal(sorted_keys[1:], sorted_keys[:-1], out=new[1:-1])
        begins = np.flatnonzero(new)
    return Groups(order, begins)


def _sort_documents(values: np.ndarray, owners: np.ndarray) -> None:
    """Sort values in place, some documents at a time: short sorts stay in the processor's cache."""
    begin = 0
    while begin < len(values):
        last = min(begin + BLOCK, len(values)) - 1
        end = int(np.searchsorted(owners, owners[last], side="right"))
        values[begin:end].sort()
        begin = end


def repeated(spans: Spans) -> np.ndarray:
    """Which pieces stood earlier in their document, but for case: bool[pieces]."""
    found = np.zeros(len(spans.hashes), bool)
    found[groups(spans.hashes, spans.owners).later] = True
    return found


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of `size` words that stand at least twice in their document.

    firsts, sizes: int64[groups], the first word of a run's first place, and how often the run stands.
    later: int64, the first words of all other places of theirs, sorted.
    """

    size: int
    firsts: np.ndarray
    sizes: np.ndarray
    later: np.ndarray


def repeated_runs(words: Spans, smallest: int, largest: int) -> Iterator[Runs]:
    """The repeated runs of each size. A run repeats only where both shorter ones in it do: each size looks at fewer."""
    hashes, starts = words.ngrams(smallest)
    for size in range(smallest, largest + 1):
        if size > smallest:
            hashes = hashes * BASE
            hashes += words.hashes[starts + (size - 1)]
        found = groups(hashes, words.owners[starts])
        sizes = found.sizes
        runs = Runs(size, starts[found.firsts[sizes > 1]], sizes[sizes > 1], starts[found.later])
        yield runs
        again = np.zeros(len(words.hashes) + 1, bool)
        again[runs.firsts] = again[runs.later] = True
        longer = again[starts]
        longer &= again[starts + 1]  # which ends in the same document, or were not there
        starts, hashes = starts[longer], hashes[longer]


def most_frequent(words: Spans, runs: Runs) -> np.ndarray:
    """Characters of each document in its most frequent repeated run, all its places: int64[documents].

    Of runs equally frequent, the one that stands first. A word counts with the space after it.
    """
    best = np.zeros(len(words.counts), np.int64)
    bits = max(1, len(words.hashes)).bit_length()
    places = (1 << bits) - 1
    np.maximum.at(best, words.owners[runs.firsts], (runs.sizes << bits) | (places - runs.firsts))
    some = np.flatnonzero(best)
    firsts = places - (best[some] & places)
    best[some] = (best[some] >> bits) * (words.reach[firsts + runs.size] - words.reach[firsts])
    return best


def covered(words: Spans, runs: Runs) -> np.ndarray:
    """Characters of each document within runs that stood earlier in it, each counted once: int64[documents].

    A word counts with the space after it.
    """
    ends = runs.later + runs.size
    ends[:-1] = np.minimum(ends[:-1], runs.later[1:])
    characters = words.reach[ends] - words.reach[runs.later]
    return np.bincount(words.owners[runs.later], characters, len(words.counts)).astype(np.int64)
