"""Which documents are trained on, which are held out, and which are left out: duplicates, and near-copies of held-out
text.

A document's choice is one byte, in the corpus's order. Held-out documents come first in deduplication, so that their
text is in no training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas_data.arrow import mask
from clapas_data.chunks import Counts, counts_of
from clapas_data.codes import CONTAMINATED, HELD_OUT, TRAIN
from clapas_data.corpus import Corpus, Decontaminate
from clapas_data.decontaminate import marks_of, ngram_index, shared_fraction
from clapas_data.deduplicate.arrays import Arrays
from clapas_data.deduplicate.finish import CODES_FILE, steps
from clapas_data.deduplicate.plan import read_plan
from clapas_data.deduplicate.stages import planned_stages
from clapas_data.files import new_file
from clapas_data.lines import without_lines
from clapas_data.pipeline import StepCounts
from clapas_data.sorted_file import open_sorted, write_sorted
from clapas_data.stages import OneTask, Stage
from clapas_data.step_record import StepRecord
from clapas_data.steps.step import Step
from clapas_data.work import CHOICE, INDEX, STEPS, Work

GRAMS = "heldout.u64"


def choosing_stages(work: Work, corpus: Corpus) -> list[Stage]:
    """What follows reading: documents compared with each other and with the held-out ones, and the choice."""
    stages = planned_stages(work.folder, corpus)
    if decontaminates(corpus) is not None:
        stages += [HeldOutGrams(work), Close(work)]
    return [*stages, Choose(work)]


def decontaminates(corpus: Corpus) -> Decontaminate | None:
    """The rule by which training documents close to held-out ones are left out; None where there is nothing to do."""
    return corpus.decontaminate if corpus.held_out else None


def _rule(work: Work) -> Decontaminate:
    assert work.corpus.decontaminate is not None
    return work.corpus.decontaminate


def _codes(work: Work) -> np.ndarray:
    """What deduplication made of each document: uint8[documents], memory-mapped."""
    return read_plan(work.folder).array(CODES_FILE, np.uint8)


@dataclass(frozen=True)
class HeldOutGrams(OneTask):
    """The n-grams of the held-out text, sorted, in a file that all processes of a node share.

    8 bytes each.
    """

    name = "held-out"
    work: Work

    def done(self, task: int) -> bool:
        return (self.work.folder / GRAMS).exists()

    def run(self, task: int) -> None:
        words = _rule(self.work).words
        with new_file(self.work.folder / GRAMS) as partial:
            write_sorted(partial, (ngram_index(texts, words) for texts in self._texts()))

    def _texts(self) -> Iterator[list[str]]:
        first, codes = self.work.first, _codes(self.work)
        for chunk in self.work.chunks:
            own = codes[first[chunk.number] : first[chunk.number + 1]] == HELD_OUT
            if own.any():
                yield from (batch.to_pylist() for _, batch in _chosen_texts(self.work, chunk.number, own))


@dataclass(frozen=True)
class Close(Stage):
    """A chunk's training documents that share too much with the held-out ones: their places in the chunk."""

    name = "decontaminate"
    work: Work

    def tasks(self) -> int:
        return len(self.work.chunks)

    def done(self, task: int) -> bool:
        return _close_path(self.work, task).exists()

    def run(self, task: int) -> None:
        began, rule, first = time.monotonic(), _rule(self.work), self.work.first
        training = _codes(self.work)[first[task] : first[task + 1]] == TRAIN
        index, marks = _load_index(self.work.folder / GRAMS)
        found: list[int] = []
        if training.any():
            for places, texts in _chosen_texts(self.work, task, training):
                shared = shared_fraction(texts.to_pylist(), rule.words, index, marks)
                found += places[shared >= rule.threshold].tolist()
        path = _close_path(self.work, task)
        path.parent.mkdir(exist_ok=True)
        atomic_write(path, orjson.dumps({"places": found, "seconds": round(time.monotonic() - began, 3)}))

    def size(self, task: int) -> int:
        return self.work.chunks[task].path.stat().st_size


def _close_path(work: Work, chunk: int) -> Path:
    return work.folder / "close" / f"{chunk:06}.json"


def _chosen_texts(work: Work, chunk: int, wanted: np.ndarray) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """(places in the chunk, texts) of the wanted documents, bool[documents], a batch at a time."""
    start, first = 0, int(work.first[chunk])
    for batch in work.chunk(chunk).batches("text"):
        own = wanted[start : start + len(batch)]
        if own.any():
            places = start + np.flatnonzero(own)
            yield places, without_lines(work, batch.filter(mask(own)), first + places).column("text")
        start += len(batch)


@lru_cache(maxsize=1)
def _load_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    index = open_sorted(path)
    return index, marks_of(index)


@dataclass(frozen=True)
class Choose(OneTask):
    """All choices in one file, and the counts of the steps. Raises UserError where no document is left to train on."""

    name = "choose"
    work: Work

    def done(self, task: int) -> bool:
        return (self.work.folder / STEPS).exists()

    def run(self, task: int) -> None:
        corpus, found = self.work.corpus, _Tally()
        with new_file(self.work.folder / CHOICE) as partial, partial.open("wb") as file:
            for codes, sizes in self._chunks(found):
                found.add(codes, sizes)
                file.write(codes.tobytes())
        records = [*reading_steps(self.work), *steps(read_plan(self.work.folder), self.work.seconds())]
        if corpus.held_out:
            records.append(found.record("hold out", (TRAIN, HELD_OUT, CONTAMINATED), (TRAIN, CONTAMINATED), 0.0))
            if decontaminates(corpus) is not None:
                records.append(found.record("decontaminate", (TRAIN, CONTAMINATED), (TRAIN,), found.seconds))
        if not found.documents[TRAIN]:
            counts = ", ".join(f"{step.name} left {step.documents_out}" for step in records)
            raise UserError(f"corpus {corpus.name}: no document is left to train on", found=counts)
        atomic_write(self.work.folder / STEPS, orjson.dumps([step.model_dump() for step in records]))

    def _chunks(self, found: _Tally) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each chunk the choices and the sizes, in UTF-8 bytes, of its documents."""
        plan, codes, number = read_plan(self.work.folder), _codes(self.work), 0
        for group, places in enumerate(plan.groups):
            with Arrays(plan.path("line-sizes" if plan.lines else "exact-keys", group)) as arrays:
                sizes = arrays.read("bytes")
            for place in places:
                own = np.array(codes[place.first : place.first + place.documents])
                if decontaminates(self.work.corpus) is not None:
                    close = orjson.loads(_close_path(self.work, number).read_bytes())
                    own[close["places"]] = CONTAMINATED
                    found.seconds += close["seconds"]
                start = place.first - int(plan.starts[group])
                yield own, sizes[start : start + place.documents]
                number += 1


class _Tally:
    """Documents and UTF-8 bytes of each choice."""

    def __init__(self) -> None:
        self.documents = np.zeros(256, np.int64)
        self.bytes = np.zeros(256, np.int64)
        self.seconds = 0.0

    def add(self, codes: np.ndarray, sizes: np.ndarray) -> None:
        self.documents += np.bincount(codes, minlength=256)
        self.bytes += np.bincount(codes, sizes, minlength=256).astype(np.int64)

    def record(self, name: str, before: tuple[int, ...], after: tuple[int, ...], seconds: float) -> StepRecord:
        """A step that took in the documents of some choices and gave out those of others."""
        return StepRecord(
            name=name,
            documents_in=int(self.documents[list(before)].sum()),
            documents_out=int(self.documents[list(after)].sum()),
            bytes_in=int(self.bytes[list(before)].sum()),
            bytes_out=int(self.bytes[list(after)].sum()),
            seconds=round(seconds, 3),
        )


def reading_steps(work: Work) -> list[StepRecord]:
    """Extraction, cleaning and the corpus's own steps. Reading, extraction and cleaning are one pass, whose seconds (of
    all processes together) stand with the first."""
    values = orjson.loads((work.folder / INDEX).read_bytes())
    by_source = {name: counts_of(counts) for name, counts in values.items()}
    total = Counts()
    for counts in by_source.values():
        total.add_reading(counts)
    ends = {
        "extract": (total.read, total.extracted, total.bytes_read, total.bytes_extracted),
        "clean": (total.extracted, total.cleaned, total.bytes_extracted, total.bytes_cleaned),
    }
    keys = ("documents_in", "documents_out", "bytes_in", "bytes_out")
    seconds = {"extract": round(total.seconds, 3), "clean": 0.0}
    records = [
        StepRecord(name=name, seconds=seconds[name], **dict(zip(keys, values, strict=True)))
        for name, values in ends.items()
    ]
    return [*records, *_corpus_steps(work.corpus, by_source)]


def _corpus_steps(corpus: Corpus, by_source: dict[str, Counts]) -> Iterator[StepRecord]:
    for step in corpus.steps:
        if not isinstance(step, Step):
            continue
        own: dict[str, StepCounts] = {}
        changed: dict[str, dict[str, Any]] = {}
        for name, counts in by_source.items():
            steps = {its.step: its for its in corpus.steps_of(name)}
            if step.step in steps:
                own[name] = counts.steps[[*steps].index(step.step)]
                if corpus.sources[name].steps.get(step.step):
                    changed[name] = steps[step.step].recorded()
        yield StepRecord.of(step.step, step.recorded(), own, changed)
