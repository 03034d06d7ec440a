"""Many phrases sought at once in a batch: terms of a word list, passages of an evaluation set.

What a phrase begins with, as many words as the shortest phrase has, is looked up for every word of the batch; only
where that is found are whole phrases compared. All of it by hashes of lower-case words, so « l'Été » is « l été ».
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from clapas_data.text.batch import TextBatch
from clapas_data.text.spans import Spans
from clapas_data.text.table import MISSING, HashTable

LONGEST = 32
"""Words of a phrase, at most: the sizes that begin with the same words are bits of one uint32."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """Distinct phrases. shortest: words that all of them have at least.

    beginnings: hash of their first words -> the sizes of the phrases that begin so, bit i for `shortest` + i words.
    whole: hash of a phrase -> its number.
    """

    shortest: int
    beginnings: HashTable
    whole: HashTable

    @classmethod
    def build(
        cls,
        shortest: int,
        sizes: Sequence[int],
        hashes: Sequence[np.ndarray],
        beginnings: Sequence[np.ndarray],
        numbers: np.ndarray,
    ) -> Phrases:
        """Phrases of some sizes, none under `shortest`.

        hashes, beginnings: for each size, uint64[phrases], of distinct phrases and of their first `shortest` words.
        numbers: of all phrases in this order, below 2^32 - 1.
        """
        bits = [np.full(len(own), 1 << (size - shortest), np.uint32) for own, size in zip(hashes, sizes, strict=True)]
        keys, owners = np.unique(np.concatenate(beginnings), return_inverse=True)
        together = np.zeros(len(keys), np.uint32)
        np.bitwise_or.at(together, owners, np.concatenate(bits))
        whole = HashTable.build(np.concatenate(hashes), numbers.astype(np.uint32))
        return cls(shortest, HashTable.build(keys, together), whole)

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> Phrases:
        """Each text, of 1 to `LONGEST` words, as one phrase; its number is its place. All must be distinct."""
        words = words_of(texts)
        sizes = sorted(set(words.counts.tolist()))
        own = [np.flatnonzero(words.counts == size) for size in sizes]
        firsts = [words.bounds[places] for places in own]
        hashes = [words.ngrams_at(size, first)[0] for size, first in zip(sizes, firsts, strict=True)]
        beginnings = [words.ngrams_at(sizes[0], first)[0] for first in firsts]
        return cls.build(sizes[0], sizes, hashes, beginnings, np.concatenate(own))

    def find(self, words: Spans) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All places where a phrase stands: its first word, its words, its number: int64[places] each.

        In no order; phrases may overlap.
        """
        hashes, firsts = words.ngrams(self.shortest)
        sizes = self.beginnings.find(hashes)
        near = np.flatnonzero(sizes != MISSING)
        found: list[np.ndarray] = [np.zeros((3, 0), np.int64)]
        for bit in range(LONGEST):
            own = firsts[near[(sizes[near] >> np.uint32(bit)) & np.uint32(1) == 1]]
            if not len(own):
                continue
            size = self.shortest + bit
            runs, own = words.ngrams_at(size, own)
            numbers = self.whole.find(runs)
            sure = numbers != MISSING
            found.append(np.stack([own[sure], np.full(int(sure.sum()), size), numbers[sure].astype(np.int64)]))
        first, size, number = np.concatenate(found, axis=1)
        return first, size, number

    def find_in_lines(self, batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
        """The places where a phrase stands on one line: its first word, its number: int64[places] each, in no order."""
        first, size, number = self.find(batch.words)
        together = batch.line_of_words[first] == batch.line_of_words[first + size - 1]
        return first[together], number[together]


def words_of(texts: Iterable[str]) -> Spans:
    """The words of texts that are no documents."""
    texts = list(texts)
    return TextBatch(texts, ids=[""] * len(texts)).words
