"""Parquet: a document a row, cut by row groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources.limits import LARGEST_DOCUMENT, tell_left_out
from clapas_data.sources.part import MOST_PARTS, PART_BYTES, Part, RawDocument, id_start
from clapas_data.sources.rows import URL_FIELD, check_fields, documents_of_rows

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ENDINGS = (".parquet",)
BATCH_ROWS = 1024
BATCH_BYTES = 16 * 2**20
"""Rows and bytes of text, about, that are decoded at once."""


def parts(source: Source, path: str) -> list[Part]:
    """Row groups together, up to a part's size. Raises UserError where the file lacks a column: before any is read."""
    file = open_parquet(path)
    check_fields(source, file.schema_arrow.names, path, "column")
    return [Part(source, (path,), start, stop) for start, stop in _row_group_ranges(file.metadata)]


def read(part: Part) -> Iterator[RawDocument]:
    """The documents of a part's row groups. Raises UserError where a page of the file is damaged."""
    import pyarrow as pa

    path, source = part.paths[0], part.source
    file = open_parquet(path)
    check_fields(source, file.schema_arrow.names, path, "column")
    first = sum(file.metadata.row_group(group).num_rows for group in range(part.start))
    try:
        yield from documents_of_rows(source, _rows(file, part, first), path, first, id_start(part))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's trouble, not the file's
        raise UserError(f"a damaged Parquet file: {str(error).splitlines()[0]}", where=path) from None


def _row_group_ranges(groups: pq.FileMetaData) -> Iterator[tuple[int, int]]:
    start = size = 0
    whole = sum(groups.row_group(group).total_byte_size for group in range(groups.num_row_groups))
    for group in range(groups.num_row_groups):
        size += groups.row_group(group).total_byte_size
        if size >= max(PART_BYTES, whole // MOST_PARTS):
            yield start, group + 1
            start, size = group + 1, 0
    if start < groups.num_row_groups:
        yield start, groups.num_row_groups


def _rows(file: pq.ParquetFile, part: Part, first: int) -> Iterator[dict[str, Any]]:
    source, path = part.source, part.paths[0]
    wanted = dict.fromkeys((source.text, source.id or "id", source.url_field or URL_FIELD, *source.only))
    columns = [name for name in wanted if name in file.schema_arrow.names]
    for group in range(part.start, part.stop):
        facts = file.metadata.row_group(group)
        rows = max(1, min(BATCH_ROWS, BATCH_BYTES * facts.num_rows // max(1, facts.total_byte_size)))
        for batch in file.iter_batches(rows, row_groups=[group], columns=columns):
            if batch.nbytes > LARGEST_DOCUMENT:
                batch = _without_large(batch, source.text, path, first)
            yield from _values(batch, path, first)
            first += len(batch)


def _without_large(batch: pa.RecordBatch, text: str, path: str, first: int) -> pa.RecordBatch:
    """The batch with null for texts that are larger than a document may be, which are never made Python's."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # its functions are made at run time
    place = batch.schema.get_field_index(text)
    column = batch.column(place)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return batch
    sizes = pc.binary_length(column)
    large = pc.fill_null(pc.greater(sizes, pa.scalar(LARGEST_DOCUMENT, sizes.type)), False)
    for row in pc.indices_nonzero(large).to_pylist():
        tell_left_out(f"{path}#{first + row}", sizes[row].as_py())
    return batch.set_column(place, batch.schema.field(place), pc.if_else(large, pa.scalar(None, column.type), column))


def _values(batch: pa.RecordBatch, path: str, first: int) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist()
    except UnicodeDecodeError as error:
        row = next(place for place in range(len(batch)) if not _is_text(batch.slice(place, 1)))
        found = f"byte {error.object[error.start]:#04x} at byte {error.start} of the value"
        way_out = "write the file again as UTF-8: its writer took other bytes for text"
        raise UserError("not UTF-8 text", where=f"{path}#{first + row}", found=found, way_out=way_out) from None


def _is_text(row: pa.RecordBatch) -> bool:
    try:
        row.to_pylist()
    except UnicodeDecodeError:
        return False
    return True


def open_parquet(path: str) -> pq.ParquetFile:
    """A file opened without mapping it: a mapped one that is cut short while it is read kills the process."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"not a Parquet file: {str(error).splitlines()[0]}", where=path) from None
