"""Files opened by their ending: plain, gzip, Zstandard, bzip2 or xz, with one error for all that are damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from clapas.recipe.errors import UserError
from clapas_data.sources.limits import LARGEST_DOCUMENT, check_ratio

COMPRESSED = (".gz", ".tgz", ".zst", ".bz2", ".xz")
PACKINGS = (".gz", ".zst", ".bz2", ".xz")
BUFFER = 2**20


def packed(*endings: str) -> tuple[str, ...]:
    """Endings of files, plain and in each compression that is read."""
    return tuple(f"{ending}{packing}" for ending in endings for packing in ("", *PACKINGS))


def open_file(path: str) -> BinaryIO:
    """A file's bytes, decompressed where its ending says so. Reading raises UserError where it is damaged."""
    file = Path(path).open("rb", buffering=BUFFER)  # noqa: SIM115 - the caller's to close
    if not path.endswith(COMPRESSED):
        return file
    return open_stream(file, path, Path(path).stat().st_size)


def open_stream(file: BinaryIO, name: str, size: int) -> BinaryIO:
    """What a stream of compressed bytes holds. name: its ending says how it is compressed; size: in bytes."""
    return cast("BinaryIO", io.BufferedReader(_Decompressed(file, name, size), BUFFER))


def inflate(data: bytes, name: str) -> bytes | None:
    """A small compressed file (a member of an archive), whole; None where it holds more than one document may."""
    with open_stream(io.BytesIO(data), name, len(data)) as file:
        return read_document(file.read)


def read_document(read: Callable[[int], bytes], step: int = BUFFER) -> bytes | None:
    """All that `read` gives, a step at a time; None, and no more is read, where that is more than a document may be.

    In steps, because one reading of the whole holds it several times over in the layers below.
    """
    pieces, size = [], 0
    while piece := read(step):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_DOCUMENT:
            return None
    return b"".join(pieces)


class _Decompressed(io.RawIOBase):
    """The bytes that a compressed file holds, measured as they come."""

    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._given = 0
        self._file = file
        try:
            self._inner = _decompressor(file, name)
        except (EOFError, OSError, ValueError, lzma.LZMAError) as error:
            raise self._damaged(error) from None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            count = self._inner.readinto(buffer) or 0
        except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise self._damaged(error) from None
        self._given += count
        check_ratio(self._name, self._size, self._given)
        return count

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
            self._file.close()
        super().close()

    def _damaged(self, error: Exception) -> Exception:
        if isinstance(error, OSError) and error.errno is not None:
            return error  # the disk's trouble, not the file's
        what = str(error).partition("\n")[0]
        found = f"damage after {self._given:,} bytes of what it holds"
        return UserError(f"not a sound compressed file: {what}", where=self._name, found=found)


def _decompressor(file: BinaryIO, name: str) -> Any:
    if name.endswith((".gz", ".tgz")):
        return gzip.GzipFile(fileobj=file)
    if name.endswith(".bz2"):
        return bz2.BZ2File(file)
    if name.endswith(".xz"):
        return lzma.LZMAFile(file)
    import pyarrow as pa

    return pa.input_stream(file, compression="zstd")
