"""Prepared text on disk: one Arrow file for each part of a source, after all steps that read one document at a time.

A chunk is `NAME.arrow` (record batches of about 2 MB of text, LZ4), `NAME.rejected.parquet` (samples of what the steps
dropped, where any did) and `NAME.json` (its counts), written last: where the counts are, the chunk is whole. Reading is
memory-mapped, one batch at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from clapas.recipe.files import atomic_write
from clapas_data.arrow import as_numpy, fixed_binary, floats, numbers, strings
from clapas_data.clean import clean
from clapas_data.files import new_file
from clapas_data.pipeline import Passed, Rejected, StepCounts, fewest, run_steps
from clapas_data.sources import RawDocument
from clapas_data.steps.step import Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.hash import HASH_BYTES, text_hash

BATCH_BYTES = 2 * 2**20
"""UTF-8 bytes of text in a record batch: the unit of work that follows."""

SCHEMA = pa.schema(
    [
        ("id", pa.large_string()),
        ("file", pa.large_string()),
        ("url", pa.large_string()),
        ("place", pa.int64()),
        ("text", pa.large_string()),
        ("hash", pa.binary(HASH_BYTES)),
        ("bytes", pa.int64()),
    ]
)
"""A chunk's columns; the steps' scores (float32, `score.NAME`) stand after them. place: where the document begins in
its file: a byte, or a row."""
SCORE = "score."

REJECTED = ".rejected.parquet"
REJECTED_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("step", pa.string()),
        ("reason", pa.string()),
        ("id", pa.string()),
        ("value", pa.float64()),
        ("hash", pa.binary(HASH_BYTES)),
        ("text", pa.string()),
    ]
)
"""A sample of what a step dropped: `pipeline.Rejected`."""


@dataclass(slots=True)
class Counts:
    """What came in and went out of a chunk. bytes_read: of the source's files; the others are UTF-8 text.

    read, extracted, cleaned: documents found, those with any text, those with any after cleaning. steps: of the
    pipeline's, in their order. seconds: of one process, reading, extraction and cleaning.
    """

    read: int = 0
    bytes_read: int = 0
    extracted: int = 0
    bytes_extracted: int = 0
    cleaned: int = 0
    bytes_cleaned: int = 0
    kept: int = 0
    seconds: float = 0
    steps: list[StepCounts] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Counts as JSON keeps them."""
        found = {part.name: getattr(self, part.name) for part in fields(self)}
        return {**found, "steps": [step.values() for step in self.steps]}

    def add(self, other: Counts) -> None:
        """Add another's counts to these."""
        self.add_reading(other)
        self.add_steps(other.steps)

    def add_reading(self, other: Counts) -> None:
        """Add another's counts to these, but for its steps."""
        for part in fields(self):
            if part.name != "steps":
                setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))

    def add_steps(self, steps: list[StepCounts]) -> None:
        """Add the counts of the same steps run on another batch."""
        self.steps = self.steps or [StepCounts() for _ in steps]
        for own, others in zip(self.steps, steps, strict=bool(steps)):
            own.add(others)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One prepared part. path: of its `.arrow`."""

    path: Path
    counts: Counts

    def batches(self, *columns: str) -> Iterator[pa.RecordBatch]:
        """Its record batches in order, with the columns asked for; all but `text` where none is."""
        with pa.memory_map(str(self.path)) as file:
            reader = _open(file, columns)
            for place in range(reader.num_record_batches):
                yield reader.get_batch(place)

    def rejected(self) -> list[Rejected]:
        """Samples of what its steps dropped."""
        path = self.path.with_suffix(REJECTED)
        return read_rejected(path) if path.exists() else []


def read_batch(path: Path, place: int, *columns: str) -> pa.RecordBatch:
    """One record batch of a chunk, with the columns asked for; all but `text` where none is."""
    with pa.memory_map(str(path)) as file:
        return _open(file, columns).get_batch(place)


def _open(file: pa.MemoryMappedFile, columns: Sequence[str]) -> pa.ipc.RecordBatchFileReader:
    names = pa.ipc.open_file(file).schema.names
    wanted = [place for place, name in enumerate(names) if (name in columns if columns else name != "text")]
    return pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=wanted))


def find_chunk(path: Path) -> Chunk | None:
    """The chunk at a path, None where it was not finished."""
    try:
        values = orjson.loads(path.with_suffix(".json").read_bytes())
    except FileNotFoundError:
        return None
    return Chunk(path, counts_of(values))


def counts_of(values: dict[str, Any]) -> Counts:
    """Counts as JSON keeps them."""
    return Counts(**{**values, "steps": [StepCounts.read(step) for step in values["steps"]]})


def write_chunk(path: Path, documents: Iterable[RawDocument], steps: Sequence[Step] = (), source: str = "") -> Chunk:
    """Clean documents, run the steps on them, and write what is left. Leaves nothing where it fails."""
    counts, began = Counts(), time.monotonic()
    rejected: list[Rejected] = []
    schema = schema_of(steps)
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with new_file(path) as partial, pa.ipc.new_file(str(partial), schema, options=options) as file:
        for rows in _cleaned_batches(documents, counts):
            batch = TextBatch(rows.texts, ids=rows.ids, urls=rows.urls, source=source)
            passed = run_steps(steps, batch)
            counts.add_steps(passed.counts)
            counts.kept += len(passed.kept)
            rejected = fewest([*rejected, *passed.rejected])
            if len(passed.kept):
                file.write(_record_batch(rows, passed, schema))
    counts.seconds = round(time.monotonic() - began - sum(step.seconds for step in counts.steps), 3)
    if rejected:
        write_rejected(path.with_suffix(REJECTED), rejected)
    atomic_write(path.with_suffix(".json"), orjson.dumps(counts.values()))
    return Chunk(path, counts)


def schema_of(steps: Sequence[Step]) -> pa.Schema:
    """A chunk's columns where these steps give their scores."""
    scores = [(f"{SCORE}{name}", pa.float32()) for step in steps for name in step.score_names]
    return pa.schema([*SCHEMA, *map(pa.field, *zip(*scores, strict=True))]) if scores else SCHEMA


def read_rejected(path: Path) -> list[Rejected]:
    """Samples of dropped documents."""
    return [Rejected(**row) for row in pq.read_table(path).to_pylist()]


def write_rejected(path: Path, rejected: Sequence[Rejected]) -> None:
    """Write samples of dropped documents."""
    with new_file(path) as partial:
        rows = pa.Table.from_pylist([asdict(sample) for sample in rejected], REJECTED_SCHEMA)
        pq.write_table(rows, partial, compression="zstd")


@dataclass(slots=True)
class _Rows:
    """Documents with clean text, as they gather to a batch."""

    ids: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, document: RawDocument, text: str) -> None:
        self.ids.append(document.id)
        self.files.append(document.file)
        self.urls.append(document.url)
        self.places.append(document.place)
        self.texts.append(text)


def _cleaned_batches(documents: Iterable[RawDocument], counts: Counts) -> Iterator[_Rows]:
    """Documents with any text after cleaning, in batches; counts all of them."""
    rows, size = _Rows(), 0
    for document in documents:
        counts.read += 1
        counts.bytes_read += document.bytes_read
        raw = document.text
        if not raw:
            continue
        counts.extracted += 1
        if text := clean(raw):
            length = len(text.encode())
            counts.bytes_extracted += length if text is raw else len(raw.encode())
            counts.cleaned += 1
            counts.bytes_cleaned += length
            size += length
            rows.add(document, text)
        else:
            counts.bytes_extracted += len(raw.encode())
        if size >= BATCH_BYTES:
            yield rows
            rows, size = _Rows(), 0
    if rows.texts:
        yield rows


def _record_batch(rows: _Rows, passed: Passed, schema: pa.Schema) -> pa.RecordBatch:
    kept = passed.kept.tolist()
    texts = [text.encode() for text in passed.texts]
    words = [[values[place].encode() for place in kept] for values in (rows.ids, rows.files, rows.urls)]
    columns = [
        *map(strings, words),
        numbers(np.array([rows.places[place] for place in kept], np.int64)),
        strings(texts),
        fixed_binary(b"".join(map(text_hash, texts)), HASH_BYTES),
        numbers(np.fromiter(map(len, texts), np.int64, len(texts))),
        *(floats(passed.scores[name.removeprefix(SCORE)]) for name in schema.names[len(SCHEMA) :]),
    ]
    return pa.record_batch(columns, schema=schema)


def hashes_of(batch: pa.RecordBatch) -> np.ndarray:
    """The documents' hashes: uint64[documents, 2]."""
    return as_numpy(batch.column("hash"), np.uint64)


def sizes_of(batch: pa.RecordBatch) -> np.ndarray:
    """The documents' sizes, int64[documents], in UTF-8 bytes."""
    return as_numpy(batch.column("bytes"), np.int64)
