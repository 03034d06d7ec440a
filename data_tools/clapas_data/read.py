"""A source's documents as they lie: cut into parts that processes read on their own.

A part is a range of bytes of a JSONL file, some row groups of a Parquet file, some small files, some rows of a data
set, or a package. The cut depends on the data alone: any number of processes yields the same documents in one order.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.extract import extract_file, extract_text, not_utf8
from clapas_data.fetch import fetch_npm, read_members

PART_BYTES = 16 * 2**20
"""About how much a part reads, where its source can be cut."""
BOM = b"\xef\xbb\xbf"
"""The UTF-8 byte-order mark that some editors put before a file's first line."""
LONGEST_LINE = 2**30
"""Bytes: a JSONL line over this is refused, for a line is held in memory."""

_ENDINGS = (".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".json.zst", ".parquet")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a source that one process reads alone.

    paths: the files it reads. start, stop: its bytes, row groups or rows in them; stop 0 means to the end.
    base: the folder that all files of the source lie in; ids begin after it, so that they are the same on any machine.
    """

    source: Source
    paths: tuple[str, ...] = field(default=())
    start: int = 0
    stop: int = 0
    base: str = ""


class RawDocument(NamedTuple):
    """A document as read. file: where it came from, for `held_out`; bytes_read: of the input, before extraction.

    url: of its page, empty where the source knows none. place: where it begins in its file: a byte, or a row.

    A named tuple because there are millions of them: a frozen dataclass takes four times as long to make.
    """

    id: str
    file: str
    text: str
    bytes_read: int
    url: str = ""
    place: int = 0


def source_identity(name: str, source: Source) -> dict[str, Any]:
    """What tells whether a source is the one that was read before: a pinned hash or revision, else sizes and times."""
    files = [(path, stat.st_size, stat.st_mtime_ns) for path in _files(name, source) for stat in [Path(path).stat()]]
    return {"reading": source.reading(), "files": files}


def source_parts(name: str, source: Source) -> list[Part]:
    """Cut a source into parts, fetching it where it must be. Raises UserError where it is missing."""
    if source.npm is not None:
        return [Part(source, (str(fetch_npm(source.npm, source.sha256 or "")),))]
    if source.datasets is not None:
        return _row_parts(source)
    paths = _files(name, source)
    if source.folder is not None:
        return [Part(source, group) for group in _groups(paths)]
    base = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120 - glob's words
    return [replace(part, base=base) for path in paths for part in _file_parts(source, path)]


def read_part(part: Part) -> Iterator[RawDocument]:
    """The documents of a part. Raises UserError, with file and line, where they are not what the corpus file says."""
    source = part.source
    if source.npm is not None:
        for name, data in read_members(Path(part.paths[0]), source.pattern or "*"):
            yield from _documents_of_file(source, data, name, name)
    elif source.folder is not None:
        for path in part.paths:
            name = Path(path).relative_to(source.folder).as_posix()
            yield from _documents_of_file(source, Path(path).read_bytes(), path, name)
    elif source.datasets is not None:
        rows = _load_dataset(source).select(range(part.start, part.stop))
        yield from _documents_of_rows(source, rows, source.datasets, part.start, Path(source.datasets).name)
    elif part.paths[0].endswith(".parquet"):
        yield from _documents_of_parquet(part)
    else:
        yield from _documents_of_lines(part)


def _files(name: str, source: Source) -> list[str]:
    """The local files of a source, sorted; none where it is not local. Raises UserError where there are none."""
    if source.folder is not None:
        found = _files_of_folder(name, source.folder, source.pattern or "**/*.txt")
    elif source.datasets is not None and Path(source.datasets).is_dir():
        found = sorted(str(path) for path in Path(source.datasets).rglob("*") if path.is_file())
    else:
        found = _named_files(name, source.files or ())
    for path in found:
        try:
            path.encode()
        except UnicodeEncodeError:
            way_out = "rename it, or all that a folder holds: convmv -r -f latin1 -t utf8 --notest FOLDER"
            raise UserError(f"source {name}: a file name that is not UTF-8", where=path, way_out=way_out) from None
    return found


def _files_of_folder(name: str, folder: Path, pattern: str) -> list[str]:
    if not folder.is_dir():
        raise UserError(f"source {name}: no such folder", where=folder)
    try:
        found = sorted(str(path) for path in folder.glob(pattern) if path.is_file())
    except (NotImplementedError, ValueError) as error:
        wanted = "one relative to the folder, such as **/*.txt"
        raise UserError(f"source {name}: not a pattern: {error}", where=folder, found=pattern, wanted=wanted) from None
    if not found:
        raise UserError(f"source {name}: no file matches {pattern}", where=folder)
    return found


def _named_files(name: str, patterns: Iterable[str]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        if Path(pattern).is_file():  # its name may hold brackets
            found.append(pattern)
            continue
        matches = sorted(glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        matches = [path for path in matches if Path(path).is_file()]
        if not matches:
            way_out = "`folder:` reads a folder of texts, `files: FOLDER/*.jsonl` its JSONL files"
            raise UserError(f"source {name}: no such file", where=pattern, way_out=way_out)
        found += matches
    for path in found:
        if not path.endswith(_ENDINGS):
            raise UserError(f"source {name}: not a kind of file that is read", where=path, wanted=", ".join(_ENDINGS))
    return found


def _groups(paths: list[str]) -> Iterable[tuple[str, ...]]:
    """Small files together, up to a part's size."""
    group: list[str] = []
    size = 0
    for path in paths:
        group.append(path)
        size += Path(path).stat().st_size
        if size >= PART_BYTES:
            yield tuple(group)
            group, size = [], 0
    if group:
        yield tuple(group)


def _file_parts(source: Source, path: str) -> list[Part]:
    if path.endswith(".parquet"):
        return [Part(source, (path,), start, stop) for start, stop in _row_group_ranges(path)]
    if path.endswith((".gz", ".zst")):
        return [Part(source, (path,))]
    size = Path(path).stat().st_size
    return [Part(source, (path,), start, min(start + PART_BYTES, size)) for start in range(0, size, PART_BYTES)]


def _documents_of_file(source: Source, data: bytes, where: str, name: str) -> Iterator[RawDocument]:
    read = len(data)
    for identifier, text in extract_file(source.extract, data, where):
        yield RawDocument(name if identifier == where else identifier, name, text, read)
        read = 0  # a file's bytes are counted once


# JSONL


def _documents_of_lines(part: Part) -> Iterator[RawDocument]:
    source, path = part.source, part.paths[0]
    place = 0
    try:
        with _open_lines(path) as file:
            for place, (at, line) in enumerate(_lines_of_range(file, part.start, part.stop)):
                if len(line) > LONGEST_LINE:
                    raise UserError(
                        "a line over 1 GiB", where=_line_name(part, place), wanted="one JSON document a line"
                    )
                content = line if at else line.removeprefix(BOM)
                if content and not content.isspace():
                    row = _row_of_line(content, part, place)
                    identifier, text = _row_fields(source, row, lambda place=place: _line_name(part, place))
                    yield RawDocument(identifier or f"{_relative(part)}@{at}", path, text, len(line))
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's trouble, not the file's
        raise UserError(f"not a sound compressed file: {error}", where=_line_name(part, place)) from None


def _open_lines(path: str) -> BinaryIO | gzip.GzipFile | io.BufferedReader:
    if path.endswith(".gz"):
        return gzip.open(path)
    if path.endswith(".zst"):
        import pyarrow as pa

        return io.BufferedReader(pa.input_stream(path, compression="zstd"), 2**20)
    return Path(path).open("rb", buffering=2**20)


def _lines_of_range(
    file: BinaryIO | gzip.GzipFile | io.BufferedReader, start: int, stop: int
) -> Iterator[tuple[int, bytes]]:
    """The lines that begin in bytes `[start, stop)`, with the byte that each begins at: each in exactly one range."""
    at = start
    if start:
        file.seek(start - 1)
        at -= 1
        while at < stop:  # a line of the range before may be longer than this whole range
            piece = file.readline(stop - at)
            at += len(piece)
            if not piece or piece.endswith(b"\n"):
                break
    while not stop or at < stop:
        line = file.readline(LONGEST_LINE + 1)
        if not line:
            return
        yield at, line
        at += len(line)


def _row_of_line(line: bytes, part: Part, place: int) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        name = _line_name(part, place)
        try:
            line.decode()
        except UnicodeDecodeError as bad:
            found = f"byte {line[bad.start]:#04x} at byte {bad.start} of the line"
            raise not_utf8(line[:2], name, found) from None
        nul = line.find(b"\0")
        if nul >= 0:
            raise UserError("a NUL byte: cut short by a crash?", where=name, found=f"NUL at byte {nul}") from None
        raise UserError(
            f"not JSON: {error.msg}", where=name, found=repr(line[:60].decode(errors="replace")),
            wanted="one JSON object a line",
        ) from None  # fmt: skip


def _relative(part: Part) -> str:
    """A part's file, from the folder of its source: what an id begins with where the source gives none."""
    return os.path.relpath(part.paths[0], part.base) if part.base else Path(part.paths[0]).name


def _line_name(part: Part, place: int) -> str:
    """`file:line`, 1-based, for a message: counts the lines before the part."""
    return f"{part.paths[0]}:{_first_line(part.paths[0], part.start) + place}"


@lru_cache(maxsize=4)
def _first_line(path: str, start: int) -> int:
    """The number of the first line that begins at byte `start` or later."""
    if not start:
        return 1
    count, left = 1, start
    with Path(path).open("rb") as file:
        while left and (block := file.read(min(left, 2**20))):
            count += block.count(b"\n")
            left -= len(block)
        file.seek(start - 1)
        return count if file.read(1) == b"\n" else count + 1


# Rows: Parquet files and data sets


def _documents_of_rows(source: Source, rows: Iterable[Any], path: str, first: int, named: str) -> Iterator[RawDocument]:
    """first: the number of the first row. named: what an id begins with where the source gives none."""
    for place, row in enumerate(rows, first):
        identifier, text = _row_fields(source, row, lambda place=place: f"{path}#{place}")
        yield RawDocument(identifier or f"{named}#{place}", path, text, len(text.encode()))


def _documents_of_parquet(part: Part) -> Iterator[RawDocument]:
    """Raises UserError where a page of the file is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = part.paths[0]
    groups = _parquet(pq, path).metadata
    first = sum(groups.row_group(group).num_rows for group in range(part.start))
    try:
        yield from _documents_of_rows(part.source, _parquet_rows(part), path, first, _relative(part))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's trouble, not the file's
        raise UserError(f"a damaged Parquet file: {str(error).splitlines()[0]}", where=path) from None


def _row_fields(source: Source, row: Any, where: Any) -> tuple[str | None, str]:
    """A row's id and text. where: says the row's place, called only for a message."""
    if not isinstance(row, dict):
        raise UserError("not a JSON object", where=where(), found=repr(row)[:60], wanted=f'{{"{source.text}": "..."}}')
    if source.text not in row:
        fields = ", ".join(map(str, row)) or "no field at all"
        way_out = "set `text:` of the source to the field that holds the text"
        raise UserError(f"no field {source.text!r}", where=where(), found=fields, way_out=way_out)
    text = row[source.text]
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise UserError(f"field {source.text!r} is not text", where=where(), found=repr(text)[:60], wanted="a string")
    if source.id and source.id not in row:
        way_out = "set `id:` of the source to the field that names a document, or leave it out"
        raise UserError(f"no field {source.id!r}", where=where(), found=", ".join(map(str, row)), way_out=way_out)
    identifier = row.get(source.id) if source.id else row.get("id", row.get("url"))
    return None if identifier is None else str(identifier), extract_text(source.extract, text)


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


def _row_parts(source: Source) -> list[Part]:
    rows = _load_dataset(source)
    step = max(1, int(len(rows) * PART_BYTES / max(1, rows.data.nbytes)))
    return [Part(source, (), start, min(start + step, len(rows))) for start in range(0, len(rows), step)]


def _load_dataset(source: Source) -> Any:
    """A data set as `datasets` holds it: memory-mapped Arrow. Raises UserError where it cannot be had."""
    try:
        return _load_split(source.datasets or "", source.subset, source.split, source.revision)
    except ImportError:
        way_out = "pip install 'clapas[datasets]'"
        raise UserError("this corpus reads a data set, and `datasets` is not installed", way_out=way_out) from None
    except Exception as error:  # `datasets` raises dozens of kinds; each is the user's to read
        raise UserError(
            f"could not load {source.origin}, split {source.split!r}: {str(error).strip().splitlines()[0]}",
            way_out="check the name and the network; offline, load it once where there is one and copy HF_HOME",
        ) from None


@lru_cache(maxsize=1)
def _load_split(name: str, subset: str | None, split: str, revision: str | None) -> Any:
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(name, subset, split=split, revision=revision)
