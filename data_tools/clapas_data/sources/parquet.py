"""Parquet: a document a row, cut by row groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources.part import PART_BYTES, Part, RawDocument, id_start
from clapas_data.sources.rows import documents_of_rows

ENDINGS = (".parquet",)


def parquet_parts(source: Source, path: str) -> list[Part]:
    """Row groups together, up to a part's size."""
    return [Part(source, (path,), start, stop) for start, stop in _row_group_ranges(path)]


def documents_of_parquet(part: Part) -> Iterator[RawDocument]:
    """The documents of a part's row groups. Raises UserError where a page of the file is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = part.paths[0]
    groups = _parquet(pq, path).metadata
    first = sum(groups.row_group(group).num_rows for group in range(part.start))
    try:
        yield from documents_of_rows(part.source, _parquet_rows(part), path, first, id_start(part))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's trouble, not the file's
        raise UserError(f"a damaged Parquet file: {str(error).splitlines()[0]}", where=path) from None


def _row_group_ranges(path: str) -> Iterator[tuple[int, int]]:
    import pyarrow.parquet as pq

    groups = _parquet(pq, path).metadata
    start = size = 0
    for group in range(groups.num_row_groups):
        size += groups.row_group(group).total_byte_size
        if size >= PART_BYTES:
            yield start, group + 1
            start, size = group + 1, 0
    if start < groups.num_row_groups:
        yield start, groups.num_row_groups


def _parquet_rows(part: Part) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    path, source = part.paths[0], part.source
    file = _parquet(pq, path)
    known = file.schema_arrow.names
    if source.text not in known:
        way_out = "set `text:` of the source to the column that holds the text"
        raise UserError(f"no column {source.text!r}", where=path, found=", ".join(known), way_out=way_out)
    if source.id and source.id not in known:
        way_out = "set `id:` of the source to the column that names a document, or leave it out"
        raise UserError(f"no column {source.id!r}", where=path, found=", ".join(known), way_out=way_out)
    columns = [name for name in dict.fromkeys((source.text, source.id or "id", "url")) if name in known]
    for batch in file.iter_batches(1024, row_groups=list(range(part.start, part.stop)), columns=columns):
        yield from batch.to_pylist()


def _parquet(pq: Any, path: str) -> Any:
    import pyarrow as pa

    try:
        return pq.ParquetFile(path, memory_map=True)
    except pa.ArrowInvalid as error:
        raise UserError(f"not a Parquet file: {error}", where=path) from None
