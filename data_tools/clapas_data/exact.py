"""Exact deduplication, and which documents are held out, in one task."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import orjson
import pyarrow as pa

from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas_data.arrow import as_numpy
from clapas_data.chunks import hashes_of, sizes_of
from clapas_data.corpus import Corpus, HeldOut
from clapas_data.deduplicate import duplicates
from clapas_data.manifest import StepRecord
from clapas_data.stages import OneTask
from clapas_data.work import Work

CODES = "deduplicated.bin"
RECORD = "deduplicated.json"


@dataclass(frozen=True)
class Exact(OneTask):
    """Of documents with the same text one is kept."""

    name = "deduplicate"
    work: Work

    def done(self, task: int) -> bool:
        return (self.work.folder / RECORD).exists()

    def run(self, task: int) -> None:
        began = time.monotonic()
        hashes, sizes, held = _survey(self.work)
        codes = held.astype(np.uint8)
        repeats = duplicates(hashes, held)
        codes[repeats] = 2
        atomic_write(self.work.folder / CODES, codes.tobytes())
        record = StepRecord(
            name="deduplicate",
            documents_in=len(codes),
            documents_out=int((~repeats).sum()),
            bytes_in=int(sizes.sum()),
            bytes_out=int(sizes[~repeats].sum()),
            seconds=round(time.monotonic() - began, 3),
        )
        atomic_write(self.work.folder / RECORD, orjson.dumps(record.model_dump()))

    def steps(self) -> list[StepRecord]:
        """What it took in and gave out."""
        return [StepRecord(**orjson.loads((self.work.folder / RECORD).read_bytes()))]


def _survey(work: Work) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every document's hash and size, and which are held out."""
    corpus: Corpus = work.corpus
    hashes, sizes, held = [np.zeros((0, 2), np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    matched = np.zeros(len(corpus.held_out), np.int64)
    for chunk in work.chunks:
        choices = [
            (place, choice) for place, choice in enumerate(corpus.held_out) if choice.source in (None, chunk.source)
        ]
        for batch in work.chunk(chunk.number).batches():
            hashes.append(hashes_of(batch))
            sizes.append(sizes_of(batch))
            own = np.zeros(len(batch), bool)
            for number, choice in choices:
                chosen = _chosen(choice, batch)
                matched[number] += chosen.sum()
                own |= chosen
            held.append(own)
    for place in np.flatnonzero(matched == 0):
        choice = corpus.held_out[place].model_dump(exclude_none=True)
        raise UserError(f"held_out[{place}] of corpus {corpus.name} matches no document", found=str(choice))
    return np.concatenate(hashes), np.concatenate(sizes), np.concatenate(held)


def _chosen(choice: HeldOut, batch: pa.RecordBatch) -> np.ndarray:
    """Which documents of a batch a held-out choice takes, as bool[documents]."""
    if choice.fraction is not None:  # by the text's hash: equal texts fall on the same side, whatever their order
        return hashes_of(batch)[:, 0] < np.uint64(choice.fraction * 2**64)
    if choice.files is not None:
        files = batch.column("file").dictionary_encode()
        wanted = np.array([fnmatchcase(file, choice.files) for file in files.dictionary.to_pylist()], bool)
        return wanted[as_numpy(files.indices, np.int32)]
    wanted = frozenset(choice.ids or ())
    return np.fromiter((value in wanted for value in batch.column("id").to_pylist()), bool, len(batch))
