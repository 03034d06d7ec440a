"""JSONL: a document a line, cut by ranges of bytes; `.gz` and `.zst` whole."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.formats.plain import not_utf8
from clapas_data.sources.part import PART_BYTES, Part, RawDocument, id_start
from clapas_data.sources.rows import row_fields

BOM = b"\xef\xbb\xbf"
"""The UTF-8 byte-order mark that some editors put before a file's first line."""
LONGEST_LINE = 2**30
"""Bytes: a JSONL line over this is refused, for a line is held in memory."""
ENDINGS = (".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".json.zst")


def jsonl_parts(source: Source, path: str) -> list[Part]:
    """Ranges of bytes of a file that can be cut; a compressed one whole."""
    if path.endswith((".gz", ".zst")):
        return [Part(source, (path,))]
    size = Path(path).stat().st_size
    return [Part(source, (path,), start, min(start + PART_BYTES, size)) for start in range(0, size, PART_BYTES)]


def documents_of_lines(part: Part) -> Iterator[RawDocument]:
    """The documents whose lines begin in a part's bytes. Raises UserError, with file and line, for a bad one."""
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
                    identifier, text = row_fields(source, row, lambda place=place: _line_name(part, place))
                    yield RawDocument(identifier or f"{id_start(part)}@{at}", path, text, len(line))
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
