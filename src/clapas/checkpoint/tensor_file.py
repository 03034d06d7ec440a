"""A safetensors file, written beside a loop that goes on and read straight into the tensors that want its content.

`safetensors.torch.save_file` holds Python's lock while it writes, which stops training, and its file must be read again
for its hash; `safe_open` maps a file and copies, which costs a second share of memory. The format is eight bytes of
length, a header in JSON, and the tensors' bytes (docs/decisions/079).
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import torch

from clapas.checkpoint.format import DTYPE_NAMES, DTYPES, FileRecord

ALIGNMENT = 8
"""Of the tensors' bytes: as safetensors' own writer does, so that readers may map them."""
CHUNK = 16 * 2**20
"""Bytes hashed and written at once, or read on their way to a tensor elsewhere."""


def silent() -> None:
    """Tells nobody."""


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], on_chunk: Callable[[], None] = silent) -> FileRecord:
    """Write CPU tensors as a new file, hashed on the way; see `stream_tensors`.

    on_chunk: called after each piece, so that a slow disk can be told from one that hangs.
    """
    digest, size = hashlib.sha256(), 0

    def see(chunk: memoryview) -> None:
        nonlocal size
        digest.update(chunk)
        size += len(chunk)
        on_chunk()

    entries = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    stream_tensors(path, entries, tensors.__getitem__, see)
    return FileRecord(name=path.name, bytes=size, sha256=digest.hexdigest())


def stream_tensors(
    path: Path,
    entries: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    tensor_of: Callable[[str], torch.Tensor],
    see: Callable[[memoryview], None] | None = None,
) -> None:
    """Write a new file of CPU tensors that are asked for one at a time. It is on the disk when this returns, its name
    in the folder aside.

    entries: dtype and shape of each, known before. They are asked for in their order, larger elements first.
    see: called with each piece that was written. Raises OSError where it cannot be written, FileExistsError where it
    exists.
    """
    ordered = sorted(entries, key=lambda name: -entries[name][0].itemsize)  # so that each starts where it may
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)

    def write(data: memoryview) -> None:
        for start in range(0, len(data), CHUNK):
            chunk = data[start : start + CHUNK]
            _write_all(handle, chunk)
            if see:
                see(chunk)

    try:
        write(_header(ordered, entries))
        for name in ordered:
            tensor = tensor_of(name)
            assert (tensor.dtype, tuple(tensor.shape)) == entries[name], name
            write(_bytes(tensor))
        os.fsync(handle)
    finally:
        os.close(handle)


def _header(ordered: list[str], entries: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> memoryview:
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers refuses a file without
    offset = 0
    for name in ordered:
        dtype, shape = entries[name]
        end = offset + math.prod(shape) * dtype.itemsize
        described[name] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = orjson.dumps(described)
    text += b" " * (-len(text) % ALIGNMENT)
    return memoryview(len(text).to_bytes(8, "little") + text)


def _bytes(tensor: torch.Tensor) -> memoryview:
    """A contiguous CPU tensor's memory, not copied."""
    if tensor.numel() == 0:
        return memoryview(b"")
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    return flat.numpy().data


def _write_all(handle: int, data: memoryview) -> None:
    """`os.write` may take less than it is given: near a full disk it does, and fails at the next call."""
    while data:
        data = data[os.write(handle, data) :]


class TensorFile:
    """A file of tensors, open to read."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        size = int.from_bytes(os.pread(self._handle, 8, 0), "little")
        self._entries: dict[str, Any] = orjson.loads(os.pread(self._handle, size, 8))
        self._entries.pop("__metadata__", None)
        self._data = 8 + size

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            os.close(self._handle)

    def names(self) -> list[str]:
        """Every tensor's."""
        return list(self._entries)

    def tensor(self, name: str) -> torch.Tensor:
        """A whole tensor."""
        entry = self._entries[name]
        out = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
        self.read_into(name, 0, out.view(-1))
        return out

    def read_into(self, name: str, start: int, out: torch.Tensor) -> None:
        """Fill `out` (flat) with the tensor's elements from `start` on; on any device, in any dtype."""
        entry = self._entries[name]
        dtype = DTYPES[entry["dtype"]]
        at = self._data + entry["data_offsets"][0] + start * dtype.itemsize
        if out.device.type == "cpu" and out.dtype == dtype and out.is_contiguous():
            self._read(_bytes(out), at)
            return
        most = CHUNK // dtype.itemsize
        for piece in out.split(most):
            part = torch.empty(piece.shape, dtype=dtype)
            self._read(_bytes(part), at)
            piece.copy_(part)
            at += part.nbytes

    def _read(self, target: memoryview, at: int) -> None:
        while target:
            if not (count := os.preadv(self._handle, [target], at)):
                raise OSError("the file ends too early")
            target, at = target[count:], at + count
