"""`documents.parquet`: which document lies where in the shards, and where its text came from.

Rows stand in the order of the shards and, within a shard, of the tokens. So each row group covers a few shards only,
its statistics say which, and finding a step's documents among billions reads the row groups that hold them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DOCUMENTS = "documents.parquet"

ROW_GROUP = 65_536
"""Rows: a row group of about 5 MB is read in milliseconds, and a corpus of 10^9 documents has 15,000 of them."""

SCHEMA = pa.schema(
    [
        pa.field("document", pa.int64(), nullable=False),  # counted from 0 within its shard
        pa.field("split", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),  # the source's own id or URL
        pa.field("shard", pa.string(), nullable=False),  # as the manifest's `path`: train/legi-00000
        pa.field("offset", pa.int64(), nullable=False),  # its first token within the shard
        pa.field("tokens", pa.int64(), nullable=False),  # EOS included
        pa.field("bytes", pa.int64(), nullable=False),  # UTF-8 bytes of its text
    ]
)
"""The columns that every table has; a build may add others after these."""
ORIGIN = (
    pa.field("file", pa.string()),  # that it was read from, as `held_out` matches it
    pa.field("place", pa.int64()),  # where it begins in that file: a byte, or a row
    pa.field("url", pa.string()),  # of its page; empty where the source knows none
    pa.field("hash", pa.binary(16)),  # BLAKE2b of its text
)
"""Columns of a build of ours: a document's place in its source. The steps' scores (float32) stand after them, null
where the document's source has no such step."""


def schema_with(scores: Iterable[str]) -> pa.Schema:
    """The columns of a build's table. scores: the names of their columns."""
    return pa.schema([*SCHEMA, *ORIGIN, *(pa.field(name, pa.float32()) for name in scores)])


def find_documents(path: Path, wanted: Mapping[str, Iterable[int]]) -> dict[tuple[str, int], dict[str, Any]]:
    """The rows of the documents that begin at given tokens. wanted: shard -> first tokens of documents.

    Returns (shard, first token) -> row; documents that the table does not have are left out.
    """
    offsets = {shard: np.unique(np.fromiter(starts, np.int64)) for shard, starts in wanted.items()}
    found: dict[tuple[str, int], dict[str, Any]] = {}
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            if not _may_hold(file.metadata.row_group(group), offsets):
                continue
            places = file.read_row_group(group, columns=["shard", "offset"])
            rows = _matching(places, offsets)
            if len(rows):
                for row in file.read_row_group(group).take(pa.array(rows)).to_pylist():
                    found[row["shard"], row["offset"]] = row
    return found


def _may_hold(group: pq.RowGroupMetaData, offsets: Mapping[str, np.ndarray]) -> bool:
    """Whether a row group's statistics allow any of the wanted rows; yes where it has none."""
    limits: dict[str, tuple[Any, Any]] = {}
    for index in range(group.num_columns):
        column = group.column(index)
        statistics = column.statistics
        if column.path_in_schema in ("shard", "offset") and statistics is not None and statistics.has_min_max:
            limits[column.path_in_schema] = (statistics.min, statistics.max)
    if "shard" not in limits:
        return True
    first, last = limits["shard"]
    shards = [shard for shard in offsets if first <= shard <= last]
    if first == last and "offset" in limits:
        low, high = limits["offset"]
        return any(np.searchsorted(offsets[s], low) < np.searchsorted(offsets[s], high, "right") for s in shards)
    return bool(shards)


def _matching(places: pa.Table, offsets: Mapping[str, np.ndarray]) -> np.ndarray:
    """The rows of a group whose shard and offset are wanted."""
    column = places["shard"].combine_chunks().dictionary_encode()
    names, codes = column.dictionary.to_pylist(), column.indices.to_numpy()
    starts = places["offset"].to_numpy()
    wanted = np.zeros(len(starts), dtype=bool)
    for code, name in enumerate(names):
        if name in offsets:
            rows = np.flatnonzero(codes == code)
            wanted[rows[np.isin(starts[rows], offsets[name])]] = True
    return np.flatnonzero(wanted)
