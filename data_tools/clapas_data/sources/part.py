"""What a source is cut into, and what is read out of it.

A part is a range of bytes of a file that can be cut, some row groups of a Parquet file, some small files, some rows or
a shard of a data set, or one archive. The cut depends on the data alone: any number of processes yields the same
documents in one order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from clapas_data.corpus import Source
from clapas_data.formats import extract_file

PART_BYTES = 16 * 2**20
"""About how much a part reads, where its source can be cut: at least."""
MOST_PARTS = 64
"""Of one file: those of a gigabyte or more have larger parts, for each part becomes two or three files."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a source that one process reads alone.

    paths: the files it reads. start, stop: its bytes, row groups, rows, documents or shards in them; stop 0 means to
    the end. base: the folder that all files of the source lie in; ids begin after it, so that they are the same on any
    machine. sizes, times: of the files, in bytes and nanoseconds of their last change, when they were listed, so that
    one that changes meanwhile is found out.
    """

    source: Source
    paths: tuple[str, ...] = field(default=())
    start: int = 0
    stop: int = 0
    base: str = ""
    sizes: tuple[int, ...] = ()
    times: tuple[int, ...] = ()


class RawDocument(NamedTuple):
    """A document as read.

    file: where it came from, for `held_out`. bytes_read: of the input, before extraction. url: of its page, where the
    source knows it. place: where in `file` it stands: the byte of the uncompressed content at which its line, record or
    page begins, its row, or its number among the documents of a whole file.
    A named tuple because there are millions of them: a frozen dataclass takes four times as long to make.
    """

    id: str
    file: str
    text: str
    bytes_read: int
    url: str = ""
    place: int = 0


def documents_of_file(source: Source, data: bytes, where: str, name: str) -> Iterator[RawDocument]:
    """The documents of one whole file. where: for messages; name: what ids begin with, and what `held_out` matches."""
    read = len(data)
    for place, document in enumerate(extract_file(source.extract, data, where)):
        yield RawDocument(document.id or name, name, document.text, read, document.url, place)
        read = 0  # a file's bytes are counted once


def left_out(part: Part, place: int) -> RawDocument:
    """A document that is too large to read: counted as one without text."""
    return RawDocument(f"{id_start(part)}@{place}", part.paths[0], "", 0, "", place)


def id_start(part: Part) -> str:
    """A part's file, from the folder of its source: what an id begins with where the source gives none."""
    return within(part, part.paths[0])


def within(part: Part, path: str) -> str:
    """A path from the folder of the part's source, with `/`."""
    return Path(os.path.relpath(path, part.base)).as_posix() if part.base else Path(path).name
