"""Small corpora for tests: the tokens are numbered through, so that any token says where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clapas_data.documents import DOCUMENTS, SCHEMA
from clapas_data.manifest import Manifest, ShardEntry, SourceRecord, TokenizerRecord
from clapas_data.shards import ShardWriter

Lengths = Mapping[str, Sequence[Sequence[int]]]
"""source -> for each of its shards, the tokens of each document."""

EOS = 60_000


def write_corpus(folder: Path, train: Lengths, heldout: Lengths | None = None, dtype: str = "int32") -> Manifest:
    """Shards, documents.parquet and manifest. Token i of a split, over all its shards, is i."""
    entries: list[ShardEntry] = []
    rows: list[dict[str, object]] = []
    for split, sources in (("train", train), ("heldout", heldout or {})):
        at = 0
        for source, shards in sources.items():
            for number, lengths in enumerate(shards):
                prefix = folder / split / f"{source}-{number:05d}"
                with ShardWriter(prefix, np.dtype(dtype)) as writer:
                    writer.add_many(np.arange(at, at + sum(lengths)), np.array(lengths))
                at += sum(lengths)
                size = 4 * sum(lengths)
                entry = ShardEntry.of(writer.close(), folder=split, split=split, source=source, text_bytes=size)
                entries.append(entry)
                rows += _document_rows(entry, lengths)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / DOCUMENTS, row_group_size=16)
    manifest = manifest_of(entries, dtype)
    manifest.write(folder)
    return manifest


def manifest_of(entries: Sequence[ShardEntry], dtype: str = "int32") -> Manifest:
    """A manifest around shards, which need not exist for a data plan."""
    values = {
        "name": "small",
        "tokenizer": TokenizerRecord(hash="0" * 64, vocab_size=65_536, eos=EOS),
        "dtype": dtype,
        "sources": {entry.source: SourceRecord(licence="CC0-1.0") for entry in entries},
        "shards": tuple(entries),
    }
    return Manifest.model_validate(values)


def entries_of(tokens: Mapping[str, Sequence[int]]) -> list[ShardEntry]:
    """Entries of shards that are not written. tokens: source -> tokens of each of its shards."""
    return [
        ShardEntry(
            path=f"train/{source}-{number:05d}",
            documents=1,
            sequences=1,
            tokens=count,
            bin_bytes=4 * count,
            idx_bytes=0,
            bin_sha256=f"{source}{number}{count}",
            split="train",
            source=source,
            text_bytes=count,
        )
        for source, counts in tokens.items()
        for number, count in enumerate(counts)
    ]


def _document_rows(entry: ShardEntry, lengths: Sequence[int]) -> list[dict[str, object]]:
    offsets = np.cumsum([0, *lengths])
    return [
        {
            "document": number,
            "split": entry.split,
            "source": entry.source,
            "id": f"{entry.source}:{entry.path}:{number}",
            "shard": entry.path,
            "offset": int(offset),
            "tokens": length,
            "bytes": 4 * length,
        }
        for number, (offset, length) in enumerate(zip(offsets, lengths, strict=False))
    ]
