"""Which documents are trained on, which are held out, and which are left out: exact duplicates and near-copies of the
held-out text.

A document's choice is one byte. Held-out documents come first in deduplication, so that their text is in no training.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from clapas.recipe.errors import UserError
from clapas_data.arrow import as_numpy, mask
from clapas_data.chunks import Chunk, hashes_of, read_batch, sizes_of
from clapas_data.corpus import Corpus, HeldOut
from clapas_data.decontaminate import ngram_index, shared_fraction
from clapas_data.deduplicate import duplicates
from clapas_data.manifest import StepRecord
from clapas_data.progress import progress
from clapas_data.workers import Workers

TRAIN, HELD_OUT, DUPLICATE, CONTAMINATED = range(4)
SPLIT_CODES = {"train": TRAIN, "heldout": HELD_OUT}


@dataclass
class Documents:
    """All documents of a corpus without their text, in the corpus's order.

    batches: (chunk, place of the batch in it, first document, end) for each record batch.
    """

    batches: list[tuple[Chunk, int, int, int]]
    hashes: np.ndarray
    sizes: np.ndarray
    held_out: np.ndarray


def choose(corpus: Corpus, chunks: dict[str, list[Chunk]], workers: Workers) -> tuple[np.ndarray, list[StepRecord]]:
    """A choice for each document, uint8, and the steps' counts. Raises UserError where `held_out` finds nothing."""
    documents = _survey(corpus, chunks)
    codes = np.where(documents.held_out, HELD_OUT, TRAIN).astype(np.uint8)
    steps = []

    def step(name: str, work: Callable[[], None], *before: int) -> None:
        began, kept = time.monotonic(), np.isin(codes, before)
        work()
        after = np.isin(codes, before) if name != "hold out" else codes == TRAIN
        ends = (int(kept.sum()), int(after.sum()), int(documents.sizes[kept].sum()), int(documents.sizes[after].sum()))
        seconds = round(time.monotonic() - began, 3)
        steps.append(_step(name, *ends, seconds))

    def deduplicate() -> None:
        codes[duplicates(documents.hashes, documents.held_out)] = DUPLICATE

    step("deduplicate", deduplicate, TRAIN, HELD_OUT)
    if corpus.held_out:
        step("hold out", lambda: None, TRAIN, HELD_OUT)
        if corpus.decontaminate is not None:
            step("decontaminate", lambda: _decontaminate(corpus, documents, codes, workers), TRAIN)
    return codes, steps


def _step(
    name: str, documents_in: int, documents_out: int, bytes_in: int, bytes_out: int, seconds: float
) -> StepRecord:
    return StepRecord(
        name=name,
        documents_in=documents_in,
        documents_out=documents_out,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        seconds=seconds,
    )


def _survey(corpus: Corpus, chunks: dict[str, list[Chunk]]) -> Documents:
    """Read every document's hash and size, and which are held out."""
    places: list[tuple[Chunk, int, int, int]] = []
    hashes, sizes, held = [np.zeros((0, 2), np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    matched = np.zeros(len(corpus.held_out), np.int64)
    first = 0
    for name, own in chunks.items():
        choices = [(place, choice) for place, choice in enumerate(corpus.held_out) if choice.source in (None, name)]
        for chunk in own:
            for place, batch in enumerate(chunk.batches(text=False)):
                places.append((chunk, place, first, first + len(batch)))
                first += len(batch)
                hashes.append(hashes_of(batch))
                sizes.append(sizes_of(batch))
                own_held = np.zeros(len(batch), bool)
                for number, choice in choices:
                    chosen = _chosen(choice, batch)
                    matched[number] += chosen.sum()
                    own_held |= chosen
                held.append(own_held)
    for place in np.flatnonzero(matched == 0):
        choice = corpus.held_out[place].model_dump(exclude_none=True)
        raise UserError(f"held_out[{place}] of corpus {corpus.name} matches no document", found=str(choice))
    return Documents(places, np.concatenate(hashes), np.concatenate(sizes), np.concatenate(held))


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


def _decontaminate(corpus: Corpus, documents: Documents, codes: np.ndarray, workers: Workers) -> None:
    """Mark training documents that share too much with the held-out ones."""
    rule = corpus.decontaminate
    assert rule is not None
    index = ngram_index(_texts(documents, codes, HELD_OUT), rule.words)
    jobs = [place for place in documents.batches if (codes[place[2] : place[3]] == TRAIN).any()]
    handle, name = tempfile.mkstemp(suffix=".npy", prefix="clapas-held-out-")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, index)
        tasks = ((str(chunk.path), place, codes[a:b] == TRAIN, rule.words, name) for chunk, place, a, b in jobs)
        with progress("decontaminate", len(jobs), "batch", "batches") as advance:
            for (_, _, start, stop), shared in zip(jobs, workers.map(_shared, tasks), strict=True):
                own = codes[start:stop]
                training = np.flatnonzero(own == TRAIN)
                own[training[shared >= rule.threshold]] = CONTAMINATED
                advance(1)
    finally:
        Path(name).unlink(missing_ok=True)


def _shared(task: tuple[str, int, np.ndarray, int, str]) -> np.ndarray:
    """One batch's training documents: the fraction of each one's n-grams that the held-out text has."""
    path, place, training, words, index = task
    texts = read_batch(path, place).column("text").filter(mask(training)).to_pylist()
    return shared_fraction(texts, words, _load_index(index))


@lru_cache(maxsize=1)
def _load_index(path: str) -> np.ndarray:
    return np.load(path)


def _texts(documents: Documents, codes: np.ndarray, code: int) -> Iterator[str]:
    for chunk, place, start, stop in documents.batches:
        wanted = codes[start:stop] == code
        if wanted.any():
            yield from read_batch(str(chunk.path), place).column("text").filter(mask(wanted)).to_pylist()
