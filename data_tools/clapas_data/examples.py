"""Folders of examples to fine-tune on: token shards like any other, with what of them is learned.

A document is one sequence: a conversation, a prompt, or one side of a pair, whose two sides follow each other, the
preferred one first. Beside a shard `NAME` stands `NAME.targets`, a shard of as many uint8 "tokens": 0 where nothing is
learned, else which of the assistant's turns a token belongs to, from 1 (255 for all later ones). It has block checksums
like any shard. What else is known of an example (label, answer) are columns of `documents.parquet`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clapas.recipe.files import new_folder
from clapas.recipe.hashes import file_hash
from clapas_data.documents import DOCUMENTS, SCHEMA
from clapas_data.encode import open_tokenizer
from clapas_data.manifest import ExamplesRecord, FileRecord, Manifest, ShardEntry, SourceRecord
from clapas_data.shards import ShardWriter, token_dtype

TOKENIZER = "tokenizer"
TARGETS = ".targets"
LAST_TURN = 255
ROWS_AT_ONCE = 2**16
"""Rows of the table that are held as Python's objects, ten times as large as Arrow's."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One document. tokens: 1-D, EOS last. turns: uint8, as many: 0, or the assistant's turn that it belongs to."""

    tokens: np.ndarray
    turns: np.ndarray


@dataclass(frozen=True, slots=True)
class Example:
    """What is learned at once. id: the source's own. sequences: one, or a pair's two. text_bytes: of each.

    columns: what else is known, for documents.parquet; all examples of a folder have the same keys.
    """

    split: str
    source: str
    id: str
    sequences: tuple[Sequence, ...]
    text_bytes: tuple[int, ...]
    columns: Mapping[str, Any] = field(default_factory=dict)


def write_examples(
    out: Path,
    examples: Iterable[Example],
    *,
    name: str,
    tokenizer: Path,
    record: ExamplesRecord,
    sources: Mapping[str, SourceRecord],
    columns: Mapping[str, pa.DataType] | None = None,
) -> Manifest:
    """Write the folder `out`, whole or not at all; a shard for each split and source. Returns its manifest.

    tokenizer: its folder, which is copied. record: its counts may still grow while the examples come.
    columns: of the examples, with their types.
    """
    opened = open_tokenizer(tokenizer)
    dtype = token_dtype(opened.record.vocab_size)
    schema = pa.schema([*SCHEMA, *(pa.field(name, kind) for name, kind in (columns or {}).items())])
    rows: dict[tuple[str, str], _Rows] = {}
    writers: dict[tuple[str, str], tuple[ShardWriter, ShardWriter]] = {}
    with new_folder(out) as folder, ExitStack() as stack:
        for example in examples:
            key = (example.split, example.source)
            if key not in writers:
                prefix = folder / example.split / f"{example.source}-00000"
                pair = ShardWriter(prefix, dtype), ShardWriter(prefix.with_name(prefix.name + TARGETS), np.dtype("u1"))
                writers[key] = (stack.enter_context(pair[0]), stack.enter_context(pair[1]))
                rows[key] = _Rows(schema)
            for sequence, size in zip(example.sequences, example.text_bytes, strict=True):
                for writer, content in zip(writers[key], (sequence.tokens, sequence.turns), strict=True):
                    writer.add(content)
                rows[key].add(example, len(sequence.tokens), size)
        entries = [_entry(writers[key], rows[key], *key) for key in sorted(rows)]
        with pq.ParquetWriter(folder / DOCUMENTS, schema) as table:
            for key, entry in zip(sorted(rows), entries, strict=True):
                rows[key].write(table, entry.path)
        shutil.copytree(opened.path, folder / TOKENIZER)
        files = [folder / DOCUMENTS, *sorted(path for path in (folder / TOKENIZER).iterdir() if path.is_file())]
        manifest = Manifest(
            name=name,
            tokenizer=opened.record,
            dtype=dtype.name,  # pyright: ignore[reportArgumentType] - a name of its type
            sources=dict(sources),
            files={
                path.relative_to(folder).as_posix(): FileRecord(bytes=path.stat().st_size, sha256=file_hash(path))
                for path in files
            },
            shards=tuple(entries),
            examples=record,
        )
        manifest.write(folder)
    return manifest.placed(out)


class _Rows:
    """The rows of one shard's documents for the table: what came last as objects, all before as Arrow has them."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema, self._last, self._tables = schema, list[dict[str, Any]](), list[pa.Table]()
        self._documents = self._tokens = self.bytes = 0

    def add(self, example: Example, tokens: int, size: int) -> None:
        """A document of an example."""
        row = {"document": self._documents, "offset": self._tokens, "tokens": tokens, "bytes": size}
        row |= {"split": example.split, "source": example.source, "id": example.id, **example.columns}
        self._documents, self._tokens, self.bytes = self._documents + 1, self._tokens + tokens, self.bytes + size
        self._last.append(row)
        if len(self._last) == ROWS_AT_ONCE:
            self._keep()

    def write(self, table: pq.ParquetWriter, shard: str) -> None:
        """Write all of them, as the documents of a shard."""
        self._keep()
        place = self._schema.get_field_index("shard")
        for own in self._tables:
            names = pa.array([shard] * len(own), self._schema.field("shard").type)
            table.write_table(own.set_column(place, self._schema.field("shard"), names))

    def _keep(self) -> None:
        if self._last:
            self._tables.append(pa.Table.from_pylist(self._last, self._schema))
            self._last = []


def _entry(writers: tuple[ShardWriter, ShardWriter], rows: _Rows, split: str, source: str) -> ShardEntry:
    record, targets = (writer.close() for writer in writers)
    entry = ShardEntry.of(record, folder=split, split=split, source=source, text_bytes=rows.bytes)
    return replace(entry, targets=replace(targets, path=f"{split}/{targets.path}"))


def column(manifest: Manifest, name: str) -> list[Any]:
    """A column of the documents table: the value of each document, in the order of the manifest's shards."""
    table = pq.read_table(manifest.folder / DOCUMENTS, columns=["shard", name])
    by_shard: dict[str, list[Any]] = {}
    for shard, value in zip(table["shard"].to_pylist(), table[name].to_pylist(), strict=True):
        by_shard.setdefault(shard, []).append(value)
    return [value for shard in manifest.shards for value in by_shard.get(shard.path, [])]
