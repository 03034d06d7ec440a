"""Whether the files of a shard are there, of their size and with their header, without reading what they hold.

A corpus has up to 20,000 of them: each costs one `stat`, or one `open` and `pread`, and its path is a `str`.
"""

from __future__ import annotations

import os
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas_data.blocks import cut_short
from clapas_data.shards import HEADER, IndexHeader


def check_size(path: str, wanted: int) -> None:
    """Raises UserError where a file is missing or has another size, in bytes."""
    try:
        found = os.stat(path).st_size  # noqa: PTH116 - 20,000 of them: a Path each would double the time
    except FileNotFoundError:
        found = None
    if found != wanted:
        raise cut_short(Path(path), found, wanted)


def check_index(path: str, size: int, wanted: IndexHeader) -> None:
    """Raises UserError where an `.idx` is missing, has another size, in bytes, or another header."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise cut_short(Path(path), None, size) from None
    try:
        found = os.fstat(handle).st_size
        data = os.pread(handle, HEADER.size, 0)
    finally:
        os.close(handle)
    if found != size:
        raise cut_short(Path(path), found, size)
    if data != wanted.pack():
        raise UserError(
            "not the index that the manifest describes",
            where=path,
            found=str(IndexHeader.unpack(data, Path(path))),
            wanted=str(wanted),
            way_out="copy or build it again; `clapas data verify FOLDER` names every damaged file",
        )
