"""Prepared text to token shards: which documents make which shard, and a shard written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from clapas.recipe.files import atomic_write
from clapas_data.arrow import numbers, strings
from clapas_data.chunks import SCORE, sizes_of
from clapas_data.documents import SCHEMA, schema_with
from clapas_data.encode import Engine, choose_engine, encode_documents, open_tokenizer
from clapas_data.files import new_file
from clapas_data.manifest import ShardEntry
from clapas_data.prepared import Batch, Batches, Prepared
from clapas_data.shards import ShardWriter, token_dtype
from clapas_data.stages import OneTask, Stage
from clapas_data.work import Work

SHARD_BYTES = 2**30
"""UTF-8 bytes of text after which a shard is closed: about 200 million tokens."""
SAMPLE_BYTES = 200_000
"""UTF-8 bytes of text of each source on which the two encoders' ids are compared."""
SPLITS = ("train", "heldout")
WORK = ".build"
SHARDS = "shards.json"
TOKENIZER = "tokenizer"


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A shard to write: the batches of one source and split in a range of chunks.

    begin, end: (chunk, place of the record batch in it) of its first and last batch. bytes: UTF-8, of its text.
    """

    split: str
    source: str
    number: int
    begin: tuple[int, int]
    end: tuple[int, int]
    bytes: int

    @property
    def name(self) -> str:
        """Its files' name, as in `legi-00000`."""
        return f"{self.source}-{self.number:05}"

    @property
    def path(self) -> str:
        """Its place in the folder of the shards, as in `train/legi-00000`."""
        return f"{self.split}/{self.name}"


@dataclass(frozen=True, slots=True)
class BuildFolder:
    """The folder of the shards while it is built. work: where the prepared text is."""

    out: Path
    work: Work

    @property
    def own(self) -> Path:
        """The folder of what only the build needs."""
        return self.out / WORK

    def plans(self) -> list[ShardPlan]:
        """The shards; known when `shards` is done."""
        return self._shards()[1]

    def engine(self) -> Engine:
        """What encodes them."""
        return self._shards()[0]

    def _shards(self) -> tuple[Engine, list[ShardPlan]]:
        path = self.own / SHARDS
        return _read_shards(path, path.stat().st_mtime_ns)

    def record(self, plan: ShardPlan) -> Path:
        """The file that says that a shard is written."""
        return self.own / f"{plan.split}-{plan.name}.json"

    def rows(self, plan: ShardPlan) -> Path:
        """The shard's rows of the documents table."""
        return self.own / f"{plan.split}-{plan.name}.parquet"


@lru_cache(maxsize=2)
def _read_shards(path: Path, changed: int) -> tuple[Engine, list[ShardPlan]]:
    """changed: when the file was written, so that another build in the same place is not taken for the one read."""
    values = orjson.loads(path.read_bytes())
    plans = [{**plan, "begin": tuple(plan["begin"]), "end": tuple(plan["end"])} for plan in values["shards"]]
    return values["engine"], [ShardPlan(**plan) for plan in plans]


@dataclass(frozen=True)
class PlanShards(OneTask):
    """Which batches make which shard, decided by the text alone, and which engine encodes them."""

    name = "shards"
    folder: BuildFolder

    def done(self, task: int) -> bool:
        return (self.folder.own / SHARDS).exists()

    def run(self, task: int) -> None:
        prepared = Prepared(self.folder.work)
        plans = [
            plan for split in SPLITS for batches in prepared.batches(split).values() for plan in _plan(split, batches)
        ]
        sample = [text for split in SPLITS for batches in prepared.batches(split).values() for text in _sample(batches)]
        engine = choose_engine(self.folder.out / TOKENIZER, sample)
        content = {"engine": engine, "shards": [asdict(plan) for plan in plans]}
        atomic_write(self.folder.own / SHARDS, orjson.dumps(content))


def _plan(split: str, batches: Batches) -> Iterator[ShardPlan]:
    number = size = 0
    begin: tuple[int, int] | None = None
    end = (0, 0)
    for batch in batches:
        end = (batch.chunk, batch.place)
        begin = begin or end
        size += batch.bytes
        if size >= SHARD_BYTES:
            yield ShardPlan(split, batches.source, number, begin, end, size)
            number, size, begin = number + 1, 0, None
    if begin is not None:
        yield ShardPlan(split, batches.source, number, begin, end, size)


def _sample(batches: Batches) -> Iterator[str]:
    """Some text of a source and split."""
    size = 0
    for text in next(iter(batches)).read("text").column("text").to_pylist():
        if size < SAMPLE_BYTES:
            yield text[:SAMPLE_BYTES]
            size += len(text)


@dataclass(frozen=True)
class Encode(Stage):
    """A shard encoded and written, its rows of the documents table, and last its record."""

    name = "encode"
    unit = ("MB", "MB")
    folder: BuildFolder

    def tasks(self) -> int:
        return len(self.folder.plans())

    def done(self, task: int) -> bool:
        return self.folder.record(self.folder.plans()[task]).exists()

    def size(self, task: int) -> int:
        return self.folder.plans()[task].bytes

    def run(self, task: int) -> None:
        began, plan, out = time.monotonic(), self.folder.plans()[task], self.folder.out
        tokenizer, engine = open_tokenizer(out / TOKENIZER), self.folder.engine()
        dtype = token_dtype(tokenizer.record.vocab_size)
        schema = documents_schema(self.folder.work)
        (out / plan.split).mkdir(exist_ok=True)
        first = offset = size = 0
        with (
            ShardWriter(out / plan.path, dtype) as writer,
            new_file(self.folder.rows(plan)) as partial,
            pq.ParquetWriter(partial, schema) as table,
        ):
            for batch in self._batches(plan):
                rows = batch.read(*COLUMNS, *schema.names[len(SCHEMA) :])
                texts = rows.column("text").to_pylist()
                tokens, lengths = encode_documents(texts, tokenizer, engine, dtype)
                writer.add_many(tokens, lengths)
                rows = _with_files_of(rows, self.folder.work.part(batch.chunk).base)
                table.write_batch(_document_rows(plan, rows, lengths, first, offset, schema))
                first, offset = first + len(lengths), offset + len(tokens)
                size += int(sizes_of(rows).sum())
        record = writer.close()
        entry = ShardEntry.of(record, folder=plan.split, split=plan.split, source=plan.source, text_bytes=size)
        seconds = round(time.monotonic() - began, 3)
        atomic_write(self.folder.record(plan), orjson.dumps({"entry": asdict(entry), "seconds": seconds}))

    def _batches(self, plan: ShardPlan) -> Iterator[Batch]:
        source = Prepared(self.folder.work).batches(plan.split)[plan.source]
        for batch in source.between(plan.begin[0], plan.end[0] + 1):
            if plan.begin <= (batch.chunk, batch.place) <= plan.end:
                yield batch


COLUMNS = ("id", "text", "bytes")


def _with_files_of(rows: pa.RecordBatch, base: str) -> pa.RecordBatch:
    """The same rows, their files named from the folder of their source: the same on any machine."""
    files = rows.column("file").to_pylist()
    if not any(file.startswith("/") for file in files):
        return rows
    named = [os.path.relpath(file, base) if base else os.path.basename(file) for file in files]  # noqa: PTH119 - millions
    return rows.set_column(rows.schema.get_field_index("file"), "file", strings([name.encode() for name in named]))


def documents_schema(work: Work) -> pa.Schema:
    """The columns of the documents table: with the scores that the corpus's steps give."""
    corpus = work.corpus
    steps = [step for name in corpus.sources for step in corpus.steps_of(name)]
    return schema_with(dict.fromkeys(f"{SCORE}{name}" for step in steps for name in step.score_names))


def _document_rows(
    plan: ShardPlan, rows: pa.RecordBatch, lengths: np.ndarray, first: int, offset: int, schema: pa.Schema
) -> pa.RecordBatch:
    count = len(lengths)
    made: dict[str, Any] = {
        "document": numbers(np.arange(first, first + count)),
        "split": strings([plan.split.encode()] * count),
        "source": strings([plan.source.encode()] * count),
        "shard": strings([plan.path.encode()] * count),
        "offset": numbers(offset + np.cumsum(lengths) - lengths),
        "tokens": numbers(lengths),
    }
    read = set(rows.schema.names)
    columns = [
        made[field.name] if field.name in made
        else rows.column(field.name) if field.name in read
        else pa.nulls(count, field.type)
        for field in schema
    ]  # fmt: skip
    return pa.record_batch(
        [column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
