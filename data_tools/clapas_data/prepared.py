"""A corpus as text that is chosen: what tokenizers are trained on and shards are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from clapas_data.arrow import mask
from clapas_data.chunks import read_batch, sizes_of
from clapas_data.codes import SPLIT_CODES
from clapas_data.corpus import Corpus
from clapas_data.lines import without_lines
from clapas_data.step_record import StepRecord
from clapas_data.work import Work


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents of one source, as the work after preparation reads them.

    chunk, place: where they are. first: the number of the record batch's first document. code: of the split wanted.
    documents, bytes: how many of them are of the split, and their UTF-8 text before lines are deduplicated.
    """

    work: Work
    chunk: int
    place: int
    first: int
    code: int
    documents: int
    bytes: int

    def read(self, *columns: str) -> pa.RecordBatch:
        """The documents of the split, with the columns asked for: id, text, bytes, hash, file and so on."""
        batch = read_batch(self.work.chunks[self.chunk].path, self.place, *columns)
        wanted = self.work.choice()[self.first : self.first + len(batch)] == self.code
        if len(batch) != self.documents:
            batch = batch.filter(mask(wanted))
        return without_lines(self.work, batch, self.first + np.flatnonzero(wanted))


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a source that hold any document of a split, in order; found anew each time, for they are many."""

    work: Work
    source: str
    code: int

    def __iter__(self) -> Iterator[Batch]:
        return self.between(0, len(self.work.chunks))

    def between(self, start: int, stop: int) -> Iterator[Batch]:
        """Those in a range of chunks."""
        first, choice = self.work.first, self.work.choice()
        for chunk in self.work.chunks[start:stop]:
            number = int(first[chunk.number])
            if chunk.source != self.source or not self._any(choice[number : first[chunk.number + 1]]):
                continue
            for place, batch in enumerate(self.work.chunk(chunk.number).batches()):
                wanted = choice[number : number + len(batch)] == self.code
                if found := int(wanted.sum()):
                    size = int(sizes_of(batch)[wanted].sum())
                    yield Batch(self.work, chunk.number, place, number, self.code, found, size)
                number += len(batch)

    def _any(self, choice: np.ndarray) -> bool:
        return bool((choice == self.code).any())


@dataclass(frozen=True, slots=True)
class Prepared:
    """A corpus whose text is prepared and chosen."""

    work: Work

    @property
    def corpus(self) -> Corpus:
        """What it was made from."""
        return self.work.corpus

    @property
    def steps(self) -> list[StepRecord]:
        """What each step took in and gave out."""
        return self.work.steps

    def batches(self, split: str) -> dict[str, Batches]:
        """The batches of each source that has any document of a split (`train` or `heldout`)."""
        found = {name: Batches(self.work, name, SPLIT_CODES[split]) for name in self.corpus.sources}
        return {name: batches for name, batches in found.items() if next(iter(batches), None) is not None}

    def texts(self, split: str) -> Iterator[str]:
        """The texts of a split, in order, one batch in memory at a time."""
        for batches in self.batches(split).values():
            for batch in batches:
                yield from batch.read("text").column("text").to_pylist()
