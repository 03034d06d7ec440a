"""What a source is cut into, and what is read out of it.

A part is a range of bytes of a JSONL file, some row groups of a Parquet file, some small files, some rows of a data
set, or a package. The cut depends on the data alone: any number of processes yields the same documents in one order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from clapas_data.corpus import Source
from clapas_data.formats import extract_file

PART_BYTES = 16 * 2**20
"""About how much a part reads, where its source can be cut."""


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

    A named tuple because there are millions of them: a frozen dataclass takes four times as long to make.
    """

    id: str
    file: str
    text: str
    bytes_read: int


def groups_of_files(paths: list[str]) -> Iterable[tuple[str, ...]]:
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


def documents_of_file(source: Source, data: bytes, where: str, name: str) -> Iterator[RawDocument]:
    """The documents of one whole file. where: for messages; name: what ids begin with, and what `held_out` matches."""
    read = len(data)
    for identifier, text in extract_file(source.extract, data, where):
        yield RawDocument(name if identifier == where else identifier, name, text, read)
        read = 0  # a file's bytes are counted once


def id_start(part: Part) -> str:
    """A part's file, from the folder of its source: what an id begins with where the source gives none."""
    return os.path.relpath(part.paths[0], part.base) if part.base else Path(part.paths[0]).name
