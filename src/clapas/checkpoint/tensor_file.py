"""Writing a safetensors file: hashed as it is written, durable when the call returns, and beside a loop that goes on.

`safetensors.torch.save_file` holds Python's lock while it writes, which stops training, and its file must be read again
for its hash. The format is eight bytes of length, a header in JSON, and the tensors' bytes (docs/decisions/079).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

from clapas.checkpoint.format import FileRecord

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.uint8: "U8",
}
"""The dtypes that a checkpoint holds, by safetensors' names."""
ALIGNMENT = 8
"""Of the tensors' bytes: as safetensors' own writer does, so that readers may map them."""
CHUNK = 16 * 2**20
"""Bytes hashed and written at once."""


def silent() -> None:
    """Tells nobody."""


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], on_chunk: Callable[[], None] = silent) -> FileRecord:
    """Write CPU tensors as a new file. It is on the disk when this returns, its name in the folder aside.

    on_chunk: called after each piece, so that a slow disk can be told from one that hangs.
    Raises OSError where it cannot be written, FileExistsError where it exists.
    """
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())  # so that each starts where it may
    digest, size = hashlib.sha256(), 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        for data in (_header(ordered), *(_bytes(tensor) for _, tensor in ordered)):
            for start in range(0, len(data), CHUNK):
                chunk = data[start : start + CHUNK]
                digest.update(chunk)
                _write_all(handle, chunk)
                on_chunk()
            size += len(data)
        os.fsync(handle)
    finally:
        os.close(handle)
    return FileRecord(name=path.name, bytes=size, sha256=digest.hexdigest())


def _header(ordered: list[tuple[str, torch.Tensor]]) -> memoryview:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in ordered:
        end = offset + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = orjson.dumps(entries)
    text += b" " * (-len(text) % ALIGNMENT)
    return memoryview(len(text).to_bytes(8, "little") + text)


def _bytes(tensor: torch.Tensor) -> memoryview:
    """A contiguous CPU tensor's memory, not copied."""
    if tensor.numel() == 0:
        return memoryview(b"")
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    return memoryview(np.asarray(flat.numpy()))


def _write_all(handle: int, data: memoryview) -> None:
    """`os.write` may take less than it is given: near a full disk it does, and fails at the next call."""
    while data:
        data = data[os.write(handle, data) :]
