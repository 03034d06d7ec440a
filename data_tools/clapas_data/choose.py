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
from functools import lru_cache
from pathlib import Path

import numpy as np

from clapas_data.arrow import mask
from clapas_data.chunks import Chunk, read_batch, sizes_of
from clapas_data.codes import CONTAMINATED, HELD_OUT, TRAIN
from clapas_data.corpus import Corpus
from clapas_data.decontaminate import ngram_index, shared_fraction
from clapas_data.deduplicate.finish import CODES_FILE, steps
from clapas_data.deduplicate.plan import Place, Plan
from clapas_data.deduplicate.stages import stages_of
from clapas_data.manifest import StepRecord
from clapas_data.progress import progress
from clapas_data.workers import Workers


@dataclass
class Documents:
    """All documents of a corpus without their text, in the corpus's order.

    batches: (chunk, place of the batch in it, first document, end) for each record batch.
    """

    batches: list[tuple[Chunk, int, int, int]]
    sizes: np.ndarray


def choose(
    corpus: Corpus, chunks: dict[str, list[Chunk]], workers: Workers, folder: Path
) -> tuple[np.ndarray, list[StepRecord]]:
    """A choice for each document, uint8, and the steps' counts. Raises UserError where `held_out` finds nothing."""
    documents = _survey(chunks)
    plan = _plan(corpus, chunks, folder)
    seconds: dict[str, float] = {}
    for stage in stages_of(plan):
        began = time.monotonic()
        for _ in workers.map(stage.run, stage.missing()):
            pass
        seconds[stage.name] = time.monotonic() - began
    codes = np.array(plan.array(CODES_FILE, np.uint8))
    found = steps(plan, seconds)

    def step(name: str, work: Callable[[], None], *before: int) -> None:
        began, kept = time.monotonic(), np.isin(codes, before)
        work()
        after = codes == TRAIN
        ends = (int(kept.sum()), int(after.sum()), int(documents.sizes[kept].sum()), int(documents.sizes[after].sum()))
        seconds = round(time.monotonic() - began, 3)
        found.append(_step(name, *ends, seconds))

    if corpus.held_out:
        step("hold out", lambda: None, TRAIN, HELD_OUT)
        if corpus.decontaminate is not None:
            step("decontaminate", lambda: _decontaminate(corpus, documents, codes, workers), TRAIN)
    return codes, found


def _plan(corpus: Corpus, chunks: dict[str, list[Chunk]], folder: Path) -> Plan:
    places, first = [], 0
    for name, own in chunks.items():
        for chunk in own:
            places.append(Place(chunk.path, name, first, chunk.counts.kept, chunk.counts.bytes_cleaned))
            first += chunk.counts.kept
    return Plan.of(corpus, folder, tuple(places))


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


def _survey(chunks: dict[str, list[Chunk]]) -> Documents:
    """Read every document's size."""
    places: list[tuple[Chunk, int, int, int]] = []
    sizes = [np.zeros(0, np.int64)]
    first = 0
    for own in chunks.values():
        for chunk in own:
            for place, batch in enumerate(chunk.batches(text=False)):
                places.append((chunk, place, first, first + len(batch)))
                first += len(batch)
                sizes.append(sizes_of(batch))
    return Documents(places, np.concatenate(sizes))


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
