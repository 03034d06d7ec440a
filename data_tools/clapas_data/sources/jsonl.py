"""JSONL: a document a line, cut by ranges of bytes; compressed files whole."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.formats.plain import not_utf8
from clapas_data.sources.limits import LARGEST_DOCUMENT, tell_left_out
from clapas_data.sources.opened import BUFFER, COMPRESSED, open_file, packed
from clapas_data.sources.part import MOST_PARTS, PART_BYTES, Part, RawDocument, id_start, left_out
from clapas_data.sources.rows import row_fields

BOM = b"\xef\xbb\xbf"
"""The UTF-8 byte-order mark that some editors put before a file's first line."""
ENDINGS = packed(".jsonl", ".json", ".ndjson")


def parts(source: Source, path: str) -> list[Part]:
    """Ranges of bytes of a file that can be cut; a compressed one whole."""
    if path.endswith(COMPRESSED):
        return [Part(source, (path,))]
    size = Path(path).stat().st_size
    step = max(PART_BYTES, -(-size // MOST_PARTS))
    return [Part(source, (path,), start, min(start + step, size)) for start in range(0, size, step)]


def read(part: Part) -> Iterator[RawDocument]:
    """The documents whose lines begin in a part's bytes. Raises UserError, with file and line, for a bad one."""
    source, path = part.source, part.paths[0]
    unseen, rows = source.url_field, 0
    with open_file(path) as file:
        for number, (at, line) in enumerate(_lines_of_range(file, part.start, part.stop)):
            if line is None:
                tell_left_out(_line_name(part, number))
                yield left_out(part, at)
                continue
            content = line if at else line.removeprefix(BOM)
            if content and not content.isspace():
                row = row_of_line(content, lambda number=number: _line_name(part, number))
                found = row_fields(source, row, lambda number=number: _line_name(part, number))
                unseen, rows = None if unseen in row else unseen, rows + 1
                if found is None:
                    continue
                yield RawDocument(found.id or f"{id_start(part)}@{at}", path, found.text, len(line), found.url, at)
    if unseen and rows:  # allowed, for lines may lack it; but misspelt it would hide every document from `opt_out`
        print(f"warning: {path}: none of {rows:,} lines has {unseen!r}, which `url_field` names", file=sys.stderr)


def _lines_of_range(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[int, bytes | None]]:
    """The lines that begin in bytes `[start, stop)`, with the byte that each begins at: each in exactly one range.

    None stands for a line that is larger than a document may be: it is read, a piece at a time, and forgotten.
    """
    at = start
    if start:
        file.seek(start - 1)
        at -= 1
        while at < stop:  # a line of the range before may be longer than this whole range
            piece = file.readline(min(stop - at, BUFFER))
            at += len(piece)
            if not piece or piece.endswith(b"\n"):
                break
    while not stop or at < stop:
        line = file.readline(LARGEST_DOCUMENT + 1)
        if not line:
            return
        too_large = len(line) > LARGEST_DOCUMENT
        yield at, None if too_large else line
        at += len(line)
        while too_large and not line.endswith(b"\n") and (not stop or at < stop):
            line = file.readline(BUFFER)
            if not line:
                return
            at += len(line)


def row_of_line(line: bytes, where: Callable[[], str]) -> Any:
    """What a line of JSON holds. where: its place, called only for a message. Raises UserError where it is no JSON."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        name = where()
        try:
            line.decode()
        except UnicodeDecodeError as bad:
            found = f"byte {line[bad.start]:#04x} at byte {bad.start} of the line"
            raise not_utf8(line[: bad.start] or line[:2], name, found) from None
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
