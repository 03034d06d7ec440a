"""From a corpus file to clean text that is chosen: read, extract, clean, deduplicate, hold out, decontaminate.

The work is kept in the cache under a key of all that decides it, a part at a time: `tokenizer train` and `data build`
share it, and what was finished before an interruption is not done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.hashes import content_hash
from clapas_data.arrow import mask
from clapas_data.cache import cache_folder
from clapas_data.choose import SPLIT_CODES, choose
from clapas_data.chunks import Chunk, Counts, find_chunk, read_batch, sizes_of, write_chunk
from clapas_data.corpus import Corpus, Source
from clapas_data.files import locked, remove_partials
from clapas_data.manifest import StepRecord
from clapas_data.pipeline import StepCounts
from clapas_data.progress import progress
from clapas_data.sources import Part, read_part, source_identity, source_parts
from clapas_data.steps.step import Step
from clapas_data.workers import Workers

PREPARATION = 3
"""Version of what extraction, cleaning and choosing do: raised when they change, so that cached work is not reused."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents of one source, as the work after preparation reads them.

    wanted: bool[documents], which of the record batch are of the split. bytes: of those, UTF-8 text.
    """

    path: str
    place: int
    wanted: np.ndarray
    bytes: int

    def read(self, *columns: str) -> pa.RecordBatch:
        """The documents of the split, with the columns asked for: id, text, bytes, hash, file."""
        batch = read_batch(self.path, self.place).select(list(columns))
        return batch if self.wanted.all() else batch.filter(mask(self.wanted))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A corpus as text. steps: what each step took in and gave out. codes: one choice a document (choose.py)."""

    corpus: Corpus
    chunks: dict[str, list[Chunk]]
    codes: np.ndarray
    steps: list[StepRecord]

    def batches(self, split: str) -> dict[str, list[Batch]]:
        """The batches of each source that hold any document of a split (`train` or `heldout`), in order."""
        found: dict[str, list[Batch]] = {}
        first = 0
        for name, chunks in self.chunks.items():
            own = found[name] = []
            for chunk in chunks:
                for place, batch in enumerate(chunk.batches(text=False)):
                    wanted = self.codes[first : first + len(batch)] == SPLIT_CODES[split]
                    first += len(batch)
                    if wanted.any():
                        size = int(sizes_of(batch)[wanted].sum())
                        own.append(Batch(str(chunk.path), place, wanted, size))
        return {name: batches for name, batches in found.items() if batches}

    def texts(self, split: str) -> Iterator[str]:
        """The texts of a split, in order, one batch in memory at a time."""
        for batches in self.batches(split).values():
            for batch in batches:
                yield from batch.read("text").column("text").to_pylist()


def source_key(name: str, source: Source, steps: Sequence[Step] = ()) -> str:
    """Hash of what decides a source's prepared text. Raises UserError where its local files are missing."""
    return content_hash([PREPARATION, source_identity(name, source), [step.identity() for step in steps]])


def corpus_key(corpus: Corpus) -> str:
    """Hash of what decides a corpus's text and the choice among it."""
    sources = {name: source_key(name, source, corpus.steps_of(name)) for name, source in corpus.sources.items()}
    return content_hash([PREPARATION, list(sources.items()), corpus.choosing()])


def prepare(corpus: Corpus, workers: Workers) -> Prepared:
    """Prepare a corpus, or find it prepared.

    Raises UserError for what is wrong with its sources (missing, not UTF-8, not the declared format, empty).
    """
    chunks = {name: _prepare_source(corpus, name, workers) for name in corpus.sources}
    _refuse_empty_sources(corpus, chunks)
    folder = cache_folder("prepared", f"{corpus.name}-{corpus_key(corpus)[:16]}")
    with locked(folder):
        remove_partials(folder)
        codes_path, steps_path = folder / "choice.bin", folder / "steps.json"
        if not steps_path.exists():
            codes, steps = choose(corpus, chunks, workers)
            atomic_write(codes_path, codes.tobytes())
            atomic_write(steps_path, orjson.dumps([step.model_dump() for step in steps]))
        codes = np.frombuffer(codes_path.read_bytes(), np.uint8)
        steps = [StepRecord(**step) for step in orjson.loads(steps_path.read_bytes())]
    if not (codes == SPLIT_CODES["train"]).any():
        counts = ", ".join(f"{step.name} left {step.documents_out}" for step in steps)
        raise UserError(f"corpus {corpus.name}: no document is left to train on", found=counts)
    return Prepared(corpus, chunks, codes, [*_reading_steps(corpus, chunks), *steps])


def _prepare_source(corpus: Corpus, name: str, workers: Workers) -> list[Chunk]:
    """A source's chunks, those that are not there yet made now."""
    source, steps = corpus.sources[name], corpus.steps_of(name)
    folder = cache_folder("prepared", f"{name}-{source_key(name, source, steps)[:16]}")
    with locked(folder):
        remove_partials(folder)
        if (found := _finished(folder)) is not None:
            return found
        parts = source_parts(name, source)
        paths = [folder / f"{place:05}.arrow" for place in range(len(parts))]
        chunks = {path: chunk for path in paths if (chunk := find_chunk(path))}
        missing = [(path, part, name, steps) for path, part in zip(paths, parts, strict=True) if path not in chunks]
        try:
            with progress(f"read {name}", len(missing)) as advance:
                for chunk in workers.map(_prepare_part, missing):
                    chunks[chunk.path] = chunk
                    advance(1)
        except BaseException:
            workers.stop()
            remove_partials(folder)
            raise
        atomic_write(folder / "parts.json", orjson.dumps(len(paths)))
        return [chunks[path] for path in paths]


def _finished(folder: Path) -> list[Chunk] | None:
    """The chunks of a source prepared before, None where any is missing."""
    listing = folder / "parts.json"
    if not listing.exists():
        return None
    chunks = [find_chunk(folder / f"{place:05}.arrow") for place in range(orjson.loads(listing.read_bytes()))]
    return None if None in chunks else [chunk for chunk in chunks if chunk]


def _prepare_part(task: tuple[Path, Part, str, tuple[Step, ...]]) -> Chunk:
    path, part, name, steps = task
    return write_chunk(path, read_part(part), steps, name)


def _refuse_empty_sources(corpus: Corpus, chunks: dict[str, list[Chunk]]) -> None:
    for name, own in chunks.items():
        counts = _total(own)
        if not counts.kept:
            found = "all empty"
            if counts.cleaned:
                left = ", ".join(
                    f"{step.step} left {its.documents_out}"
                    for step, its in zip(corpus.steps_of(name), counts.steps, strict=True)
                )
                found = f"{counts.cleaned} with text; {left}"
            raise UserError(
                f"corpus {corpus.name}: source {name} has no text" + (" left" if counts.cleaned else ""),
                where=corpus.sources[name].origin,
                found=f"{counts.read} documents, {counts.bytes_read} bytes, {found}",
            )


def _total(chunks: Iterable[Chunk]) -> Counts:
    total = Counts()
    for chunk in chunks:
        total.add(chunk.counts)
    return total


def _reading_steps(corpus: Corpus, chunks: dict[str, list[Chunk]]) -> list[StepRecord]:
    """Extraction, cleaning and the corpus's own steps. Reading, extraction and cleaning are one pass, whose seconds (of
    all processes together) stand with the first."""
    by_source = {name: _total(own) for name, own in chunks.items()}
    total = Counts()
    for counts in by_source.values():
        total.add(replace(counts, steps=[]))
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
    return [*records, *_corpus_steps(corpus, by_source)]


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
