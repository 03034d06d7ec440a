"""CRC-32 of every 64 KiB block of a file: damage is found where it is read, without reading the rest.

A SHA-256 tells that a file of 20 GB is sound only after reading 20 GB. Training reads a few kilobytes here and there,
for weeks, from disks that do fail; so each block carries its own checksum and is checked when it is first touched.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path

import numpy as np

from clapas.recipe.errors import UserError

BLOCK_BYTES = 65_536
"""A read of a few kilobytes costs one block: 64 KiB is 16 pages, checked in about 60 µs by zlib at 1 GB/s."""

CHECKSUM_DTYPE = np.dtype("<u4")


def block_count(size: int) -> int:
    """How many blocks a file of `size` bytes has; the last may be short."""
    return -(-size // BLOCK_BYTES)


class BlockChecksums:
    """The checksums of a stream of bytes, taken as it is written."""

    def __init__(self) -> None:
        self._done: list[int] = []
        self._crc = 0
        self._filled = 0

    def update(self, data: memoryview | bytes) -> None:
        """Add bytes to the stream."""
        view = memoryview(data).cast("B")
        start = 0
        while start < len(view):
            piece = view[start : start + BLOCK_BYTES - self._filled]
            self._crc = zlib.crc32(piece, self._crc)
            self._filled += len(piece)
            start += len(piece)
            if self._filled == BLOCK_BYTES:
                self._end_block()

    def finish(self) -> np.ndarray:
        """All checksums, uint32, the last block's included."""
        if self._filled:
            self._end_block()
        return np.array(self._done, dtype=CHECKSUM_DTYPE)

    def _end_block(self) -> None:
        self._done.append(self._crc)
        self._crc = self._filled = 0


class CheckedFile:
    """A file, memory-mapped, whose blocks are checked the first time that any of their bytes is read.

    path: the file. size: its length in bytes, as its manifest says.
    checksums: one CRC-32 a block, or None where nobody recorded any (bare shards): then nothing is checked.
    checked: one byte a block, set once the block is known sound; pass the same one again to remember across mappings.
    """

    def __init__(self, path: Path, size: int, checksums: np.ndarray | None, checked: bytearray | None = None) -> None:
        self.path = path
        self._checksums = checksums
        self._checked = bytearray(block_count(size)) if checked is None else checked
        with path.open("rb") as file:
            found = file.seek(0, 2)
            if found != size:
                raise cut_short(path, found, size)
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""

    def read(self, start: int, stop: int) -> memoryview:
        """Bytes `[start, stop)`, not copied. Raises UserError where a block that holds any of them was altered."""
        view = memoryview(self._map)
        if self._checksums is not None and start < stop:
            first, last = start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES
            if 0 in self._checked[first : last + 1]:
                self._check(view, first, last)
        return view[start:stop]

    def _check(self, view: memoryview, first: int, last: int) -> None:
        assert self._checksums is not None
        for block in range(first, last + 1):
            if self._checked[block]:
                continue
            found = zlib.crc32(view[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES])
            wanted = int(self._checksums[block])
            if found != wanted:
                raise altered(self.path, block, found, wanted)
            self._checked[block] = 1


def cut_short(path: Path, found: int | None, wanted: int) -> UserError:
    """The error for a file that is missing (`found` None) or has another length than its manifest says."""
    what = "missing" if found is None else "cut short" if found < wanted else "longer than when it was written"
    return UserError(
        f"file {what}",
        where=path,
        found="no file" if found is None else f"{found:,} bytes",
        wanted=f"{wanted:,} bytes",
        way_out="copy or build it again; `clapas data verify FOLDER` names every damaged file",
    )


def altered(path: Path, block: int, found: int, wanted: int) -> UserError:
    """The error for a block whose content changed since it was written."""
    start = block * BLOCK_BYTES
    return UserError(
        f"altered since it was written: bytes {start:,} to {start + BLOCK_BYTES:,} (block {block:,})",
        where=path,
        found=f"CRC-32 {found:08x}",
        wanted=f"CRC-32 {wanted:08x}",
        way_out="copy or build it again; `clapas data verify FOLDER` names every damaged file",
    )
