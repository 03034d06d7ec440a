"""Rows of files of examples: JSONL (compressed or not), a JSON array, Parquet; each with its place, for messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from clapas.recipe.errors import UserError
from clapas_data.sources import jsonl, parquet
from clapas_data.sources.limits import LARGEST_DOCUMENT
from clapas_data.sources.opened import open_file

TASK_BYTES = 2**20
TASK_ROWS = 512
"""What a worker takes at once: about a second of work."""


@dataclass(frozen=True, slots=True)
class Task:
    """Some rows of a file. lines: bytes as they stand in it, or what was read already: rows, if they are.

    places: of each, as a message names it: `file:line`, or `file#row`, counted from 1.
    """

    source: str
    lines: list[Any]
    places: list[str]


def tasks(path: Path, source: str) -> Iterator[Task]:
    """The rows of a file in tasks. Raises UserError where it is none of the kinds, is damaged or a row too large."""
    if path.name.endswith(parquet.ENDINGS):
        yield from _grouped(_parquet_rows(path), source)
    elif path.name.endswith(jsonl.ENDINGS):
        yield from _grouped(_lines(path), source)
    else:
        raise UserError(
            "not a file of examples", where=path, wanted=f"a file named {', '.join((*jsonl.ENDINGS, *parquet.ENDINGS))}"
        )


def row_of(line: Any, place: str) -> dict[str, Any]:
    """A row as an object, of a line's bytes or read already. Raises UserError, with its place, where it is none."""
    row = jsonl.row_of_line(line, lambda: place) if isinstance(line, bytes) else line
    if not isinstance(row, dict):
        raise UserError("not a JSON object", where=place, found=repr(row)[:60], wanted='{"messages": [...]}')
    return row


def _grouped(rows: Iterable[tuple[Any, str]], source: str) -> Iterator[Task]:
    lines, places, size = list[Any](), list[str](), 0
    for line, place in rows:
        lines.append(line)
        places.append(place)
        size += len(line) if isinstance(line, bytes) else 0
        if size > TASK_BYTES or len(lines) == TASK_ROWS:
            yield Task(source, lines, places)
            lines, places, size = [], [], 0
    if lines:
        yield Task(source, lines, places)


def _lines(path: Path) -> Iterator[tuple[Any, str]]:
    with open_file(str(path)) as file:
        number = 0
        while line := file.readline(LARGEST_DOCUMENT + 1):
            number += 1
            if len(line) > LARGEST_DOCUMENT:
                raise UserError("a line too large for an example", where=f"{path}:{number}", wanted="100 MB at most")
            content = line.removeprefix(jsonl.BOM) if number == 1 else line
            if number == 1 and content.lstrip().startswith(b"["):
                yield from _array(path, content + file.read(LARGEST_DOCUMENT * 10))
                return
            if content and not content.isspace():
                yield content, f"{path}:{number}"


def _array(path: Path, content: bytes) -> Iterator[tuple[Any, str]]:
    """The items of a file that is one JSON array, as Alpaca's is."""
    try:
        items = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}", where=f"{path}:{error.lineno}", wanted="an array of objects") from None
    for number, item in enumerate(items, 1):
        yield item, f"{path}#{number}"


def _parquet_rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    import pyarrow as pa

    number = 0
    try:
        for batch in parquet.open_parquet(str(path)).iter_batches(TASK_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield without_nulls(row), f"{path}#{number}"
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"a damaged Parquet file: {str(error).splitlines()[0]}", where=path) from None


def without_nulls(value: Any) -> Any:
    """A value without the keys that Parquet adds to an object because another row's has them."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
