"""Arrow columns from and to NumPy, by their buffers.

pyarrow's own `pa.array` and `to_numpy` first import pandas where it is installed: half a second for each process.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def strings(values: list[bytes]) -> pa.Array:
    """A large_string column from UTF-8 bytes."""
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.large_string(), len(values), buffers)


def numbers(values: np.ndarray) -> pa.Array:
    """An int64 column."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values.astype(np.int64))])


def floats(values: np.ndarray) -> pa.Array:
    """A float32 column."""
    return pa.Array.from_buffers(pa.float32(), len(values), [None, pa.py_buffer(values.astype(np.float32))])


def fixed_binary(data: bytes, width: int) -> pa.Array:
    """A column of values of `width` bytes each, laid end to end."""
    return pa.Array.from_buffers(pa.binary(width), len(data) // width, [None, pa.py_buffer(data)])


def mask(wanted: np.ndarray) -> pa.Array:
    """A bool column."""
    return pa.Array.from_buffers(pa.bool_(), len(wanted), [None, pa.py_buffer(np.packbits(wanted, bitorder="little"))])


def as_numpy(column: pa.Array, dtype: np.dtype | type) -> np.ndarray:
    """The values of a column without nulls, not copied. dtype: how its buffer is read; a fixed-size binary column of w
    bytes gives an array of shape [rows, w / itemsize]."""
    data = np.frombuffer(column.buffers()[1], dtype)
    per_row = max(1, column.type.byte_width // data.itemsize)
    rows = data[column.offset * per_row : (column.offset + len(column)) * per_row]
    return rows.reshape(-1, per_row) if per_row > 1 else rows
