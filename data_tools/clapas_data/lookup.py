"""Documents by what people know of them: an id, `source:id`, a URL, the hash of the text, or `shard#document`.

documents.parquet stands in the order of the shards, not of the ids. So a search reads, of each row group whose
statistics allow a match, the columns that are searched, and the rest of a row group only where it holds a match.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clapas.recipe.errors import UserError
from clapas_data.documents import DOCUMENTS
from clapas_data.manifest import Manifest

Row = dict[str, Any]
PLACE = re.compile(r"(?P<shard>.+)#(?P<document>[0-9]+)$")
HEX = re.compile(r"(?:[0-9a-f]{2})+$")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to look for: sorted values of each searched column; source -> ids, sorted; shard -> documents' numbers."""

    values: dict[str, list[Any]]
    ids: dict[str, list[str]]
    places: dict[str, set[int]]


def find(manifest: Manifest, keys: Iterable[str]) -> dict[str, list[Row]]:
    """Each key that is known -> the rows of documents.parquet that it names, in the order of the shards.

    Raises UserError where the corpus has no such table.
    """
    path = manifest.folder / DOCUMENTS
    if not path.is_file():
        way_out = "bring back documents.parquet; bare Megatron shards have none: `clapas data build` writes it"
        raise UserError("no table of the documents here", where=path, way_out=way_out)
    asked = list(dict.fromkeys(keys))
    found: dict[str, list[Row]] = {}
    with pq.ParquetFile(path) as file:
        columns = {name: file.schema_arrow.field(name).type for name in file.schema_arrow.names}
        wanted = _wanted(manifest, asked, columns)
        known = set(asked)
        for group in range(file.num_row_groups):
            for row in _matches(file, group, wanted):
                for key in names_of(row):
                    if key in known:
                        found.setdefault(key, []).append(row)
    return found


def names_of(row: Mapping[str, Any]) -> list[str]:
    """What a row may be asked for by."""
    names = [row["id"], f"{row['source']}:{row['id']}", f"{row['shard']}#{row['document']}"]
    names += [as_text(row[column]) for column in ("url", "hash") if row.get(column) is not None]
    return list(dict.fromkeys(names))


def as_text(value: Any) -> str:
    """A value of the columns url and hash as people write it: bytes in hexadecimal, a number as its 64 bits are."""
    if isinstance(value, bytes):
        return value.hex()
    return f"{value % 2**64:016x}" if isinstance(value, int) else str(value)


def _wanted(manifest: Manifest, keys: Sequence[str], columns: Mapping[str, pa.DataType]) -> _Wanted:
    ids: dict[str, set[str]] = {}
    places: dict[str, set[int]] = {}
    shards = {shard.path for shard in manifest.shards}
    for key in keys:
        source, sign, rest = key.partition(":")
        if sign and source in manifest.sources:
            ids.setdefault(source, set()).add(rest)
        if (match := PLACE.match(key)) and match["shard"] in shards:
            places.setdefault(match["shard"], set()).add(int(match["document"]))
    values: dict[str, list[Any]] = {"id": sorted(keys)}
    if "url" in columns:
        values["url"] = sorted(keys)
    if "hash" in columns and (hashes := _hashes(keys, columns["hash"])):
        values["hash"] = hashes
    return _Wanted(values, {source: sorted(own) for source, own in ids.items()}, places)


def _hashes(keys: Iterable[str], kind: pa.DataType) -> list[Any]:
    """The keys that may be hashes, as the column holds them."""
    texts = sorted({key for key in keys if HEX.match(key)})
    if pa.types.is_integer(kind):
        numbers = [int(text, 16) for text in texts if len(text) == 16]
        signed = pa.types.is_signed_integer(kind)
        return sorted(number - 2**64 if signed and number >= 2**63 else number for number in numbers)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return texts
    size = getattr(kind, "byte_width", None) if pa.types.is_fixed_size_binary(kind) else None
    return [bytes.fromhex(text) for text in texts if size in (None, len(text) // 2)]


def _matches(file: pq.ParquetFile, group: int, wanted: _Wanted) -> list[Row]:
    """The rows of a group that are wanted."""
    limits = _limits(file.metadata.row_group(group))
    values = dict(wanted.values)
    for source, ids in wanted.ids.items():
        if _may_hold(limits.get("source"), [source]):
            values["id"] = sorted({*values["id"], *ids})
    searched = [name for name, own in values.items() if _may_hold(limits.get(name), own)]
    places = {shard: numbers for shard, numbers in wanted.places.items() if _may_hold(limits.get("shard"), [shard])}
    if not searched and not places:
        return []
    table = file.read_row_group(group, columns=[*searched, *(("shard", "document") if places else ())])
    hits = np.zeros(table.num_rows, dtype=bool)
    for name in searched:
        column = table[name]
        options = pc.SetLookupOptions(pa.array(values[name], column.type))
        hits |= pc.call_function("is_in", [column], options).to_numpy()
    for shard, numbers in places.items():
        own = pc.call_function("equal", [table["shard"], pa.scalar(shard)]).to_numpy()
        hits |= own & np.isin(table["document"].to_numpy(), list(numbers))
    rows = np.flatnonzero(hits)
    return file.read_row_group(group).take(pa.array(rows)).to_pylist() if len(rows) else []


def _limits(group: pq.RowGroupMetaData) -> dict[str, tuple[Any, Any]]:
    """Column -> its least and greatest value in a row group, where they are recorded."""
    found: dict[str, tuple[Any, Any]] = {}
    for index in range(group.num_columns):
        column = group.column(index)
        statistics = column.statistics
        if statistics is not None and statistics.has_min_max:
            found[column.path_in_schema] = (statistics.min, statistics.max)
    return found


def _may_hold(limits: tuple[Any, Any] | None, values: Sequence[Any]) -> bool:
    """Whether any of some sorted values may lie within limits; without limits, they may."""
    if limits is None or not values:
        return bool(values)
    place = bisect_left(values, limits[0])
    return place < len(values) and values[place] <= limits[1]
