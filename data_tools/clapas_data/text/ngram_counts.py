"""N-grams counted in bounded memory, and a language model estimated from the counts.

Interpolated absolute discounting (Ney, Essen & Kneser, 1994): an n-gram that was seen c times has (c - D) / C of its
context's mass, and what the discount D leaves is shared out by the probability of the n-gram without its first word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from clapas_data.text.batch import TextBatch
from clapas_data.text.ngram_model import Header, NgramModel, ngram_keys
from clapas_data.text.table import HashTable

MOST = 2**23
"""N-grams of each length that are kept: a table of at most 128 MiB. When there are more, the rarest go, as in lossy
counting (Manku & Motwani, 2002)."""
PENDING = 2**21
"""N-grams of a length that wait to be merged."""
POSSIBLE_WORDS = 2**20
"""Words that the mass of unknown words is shared out to: a French vocabulary, with its forms and errors."""


@dataclass(slots=True)
class Counted:
    """Distinct n-grams, sorted by key. contexts, suffixes: keys of the n-grams without their last, and first, word."""

    keys: np.ndarray
    contexts: np.ndarray
    suffixes: np.ndarray
    counts: np.ndarray

    @classmethod
    def merged(cls, parts: Iterable[Counted]) -> Counted:
        """The n-grams of several, their counts summed."""
        columns = [[part.keys, part.contexts, part.suffixes, part.counts] for part in parts]
        keys, contexts, suffixes, counts = (np.concatenate(own) for own in zip(*columns, strict=True))
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        new = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else order
        counts = np.add.reduceat(counts[order], new) if len(keys) else counts
        return cls(keys[new], contexts[order[new]], suffixes[order[new]], counts)

    def only(self, wanted: np.ndarray) -> Counted:
        """The n-grams of a choice, bool[n-grams]."""
        return Counted(self.keys[wanted], self.contexts[wanted], self.suffixes[wanted], self.counts[wanted])

    def at_most(self, most: int) -> Counted:
        """Those that were counted most often, where there are more than `most`."""
        kept, least = self, 1
        while len(kept.keys) > most:
            kept, least = kept.only(kept.counts > least), least + 1
        return kept


class Counter:
    """Counts the n-grams of 1 to `order` words of documents."""

    def __init__(self, order: int, most: int = MOST):
        self.order, self.most = order, most
        self.words = self.documents = 0
        self._parts: list[list[Counted]] = [[] for _ in range(order)]

    def add(self, batch: TextBatch) -> None:
        """Count those of a batch."""
        self.words += len(batch.words.hashes)
        self.documents += len(batch)
        shorter = np.zeros(len(batch.words.hashes), np.uint64)
        for parts, (keys, whole) in zip(self._parts, ngram_keys(batch, self.order), strict=True):
            before = np.zeros_like(keys)
            before[1:] = shorter[:-1]
            ones = np.ones(int(whole.sum()), np.int64)
            parts.append(Counted.merged([Counted(keys[whole], before[whole], shorter[whole], ones)]))
            shorter = keys
            if sum(len(part.keys) for part in parts[1:]) > PENDING:
                self._gather(parts)

    def _gather(self, parts: list[Counted]) -> Counted:
        parts[:] = [Counted.merged(parts).at_most(self.most)]
        return parts[0]

    def model(self, origin: str, key: str) -> NgramModel:
        """The model of all that was counted; at least one word must have been."""
        below = self._gather(self._parts[0])
        discount = _discount(below.counts)
        spare = (self.words - below.counts.sum() + discount * len(below.counts)) / self.words / POSSIBLE_WORDS
        chances = (below.counts - discount) / self.words + spare
        unknown = float(np.log(spare))
        tables: list[HashTable] = []
        for parts in self._parts[1:]:
            counted = self._gather(parts)
            context, suffix = _places(below.keys, counted.contexts), _places(below.keys, counted.suffixes)
            known = (context >= 0) & (suffix >= 0)
            counted, context, suffix = counted.only(known), context[known], suffix[known]
            discount = _discount(counted.counts)
            taken = np.bincount(context, counted.counts - discount, len(below.keys))
            seen = np.maximum(below.counts, np.bincount(context, counted.counts, len(below.keys)))
            weights = 1 - taken / seen
            tables.append(_table(below.keys, chances, weights))
            chances = (counted.counts - discount) / seen[context] + weights[context] * chances[suffix]
            below = counted
        tables.append(_table(below.keys, chances, np.ones(len(below.keys))))
        slots = tuple(len(table.slots) for table in tables)
        header = Header(
            slots=slots, unknown=unknown, words=self.words, documents=self.documents, origin=origin, key=key
        )
        return NgramModel(header, tables)


def _discount(counts: np.ndarray) -> float:
    """D = n1 / (n1 + 2 n2), from how many n-grams were seen once and twice (Ney, Essen & Kneser, 1994)."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return float(np.clip(once / max(once + 2 * twice, 1), 0.1, 0.9))


def _places(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where keys stand among sorted ones: int64[wanted], -1 where they do not."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, places, -1)


def _table(keys: np.ndarray, chances: np.ndarray, weights: np.ndarray) -> HashTable:
    pairs = np.stack([np.log(chances), np.log(np.maximum(weights, 1e-6))], axis=1).astype(np.float16)
    return HashTable.build(keys, np.ascontiguousarray(pairs).view(np.uint32).ravel())
