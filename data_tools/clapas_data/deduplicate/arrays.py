"""Arrays in one file, read by slices: safetensors' format, which any tool reads.

A *shelf* is a few columns of one length in a fixed order, with `NAME.starts`: slice i lies from `starts[i]` to
`starts[i + 1]`. So a task of a later stage reads its own slice of each file of an earlier one, and no more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import orjson

from clapas_data.files import new_file

_TYPES = {"BOOL": np.bool_, "U8": np.uint8, "U32": np.uint32, "U64": np.uint64, "I64": np.int64, "F64": np.float64}
"""safetensors' names of the types in use."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of one dimension; the file appears whole."""
    from safetensors.numpy import save_file

    with new_file(path) as partial:
        save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, partial)


def shelf(name: str, starts: np.ndarray, **columns: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a shelf. starts: [slices + 1]; columns: in the slices' order."""
    return {f"{name}.starts": starts.astype(np.int64), **{f"{name}.{key}": value for key, value in columns.items()}}


_HEADER = 4096
"""Bytes that hold the header of most files: one read."""


class Arrays:
    """A file of arrays, open. Read by copies, not mapped: what a task holds is what it asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY)
        begins = os.pread(self._file, _HEADER, 0)
        size = int.from_bytes(begins[:8], "little")
        text = begins[8 : 8 + size] if 8 + size <= len(begins) else os.pread(self._file, size, 8)
        self._header = orjson.loads(text)
        self._base = 8 + size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def read(self, name: str, first: int = 0, stop: int | None = None) -> np.ndarray:
        """Values from `first` to `stop` of an array."""
        facts = self._header[name]
        (length,) = facts["shape"]
        values = np.empty(max(0, (length if stop is None else stop) - first), _TYPES[facts["dtype"]])
        offset = self._base + facts["data_offsets"][0] + first * values.itemsize
        view, found = values.view(np.uint8).data, 0
        while found < len(view):
            if not (more := os.preadv(self._file, [view[found:]], offset + found)):
                raise OSError(f"{self._path}: ends within {name}")
            found += more
        return values

    def slices(self, shelf: str, first: int, stop: int, *columns: str) -> list[np.ndarray]:
        """Slices `first` to `stop` of a shelf, a column each."""
        starts = self.read(f"{shelf}.starts", first, stop + 1)
        begin, end = int(starts[0]), int(starts[-1])
        return [self.read(f"{shelf}.{column}", begin, end) for column in columns]


KEY_BITS = 12
"""Bits of a key by which a shelf of keys is cut: at most 4,096 buckets."""


def key_shelf(name: str, key: np.ndarray, **columns: np.ndarray) -> dict[str, np.ndarray]:
    """A shelf of 64-bit hashes in their order, cut by their first KEY_BITS bits."""
    order = np.argsort(key, kind="stable")
    key = key[order]
    edges = np.arange(1, 2**KEY_BITS, dtype=np.uint64) << np.uint64(64 - KEY_BITS)
    starts = np.concatenate([[0], np.searchsorted(key, edges), [len(key)]])
    return shelf(name, starts, key=key, **{column: values[order] for column, values in columns.items()})


BUCKET_KEYS = 2**22
"""Keys of a bucket, about: with their documents and the work of sorting them, 200 MB."""
FEWEST_BUCKETS = 4


def buckets(keys: int) -> int:
    """How many buckets for a number of keys: a power of two, up to 2^KEY_BITS."""
    return min(2**KEY_BITS, max(FEWEST_BUCKETS, 1 << max(0, (keys - 1) // BUCKET_KEYS).bit_length()))


def bucket_slices(bucket: int, count: int) -> tuple[int, int]:
    """The slices of a shelf of keys that make one of `count` buckets."""
    width = 2**KEY_BITS // count
    return bucket * width, (bucket + 1) * width
