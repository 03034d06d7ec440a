"""What we write is a safetensors file, for the library itself too, and its hash is that of its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clapas.checkpoint.format import DTYPE_NAMES
from clapas.checkpoint.tensor_file import CHUNK, write_tensors
from clapas.recipe.hashes import file_hash


def test_safetensors_reads_every_dtype_and_shape(tmp_path: Path) -> None:
    """Empty, of no dimension, not contiguous, not of a whole number of words, larger than a chunk."""
    tensors = {f"matrix {dtype}": torch.arange(15).view(3, 5).to(dtype) for dtype in DTYPE_NAMES}
    tensors |= {f"odd {dtype}": torch.arange(3).to(dtype) for dtype in DTYPE_NAMES}
    tensors |= {"empty": torch.empty(0), "scalar": torch.tensor(2.5), "turned": torch.randn(4, 6).t()}
    tensors["large"] = torch.randn(CHUNK // 4 + 3)
    record = write_tensors(tmp_path / "file.safetensors", tensors)
    read = load_file(tmp_path / "file.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor), name
    assert record.bytes == (tmp_path / "file.safetensors").stat().st_size
    assert record.sha256 == file_hash(tmp_path / "file.safetensors")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A file that exists stays as it is."""
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_tensors(tmp_path / "file", {"w": torch.ones(3)})
    assert (tmp_path / "file").read_bytes() == b"mine"
