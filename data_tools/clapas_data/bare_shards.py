"""Megatron shards without a manifest: what their indexes tell of them, and it is little."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from clapas_data.blocks import cut_short
from clapas_data.shards import DTYPE_CODES, HEADER, IndexHeader, ShardRecord
from clapas_data.whole_files import check_size


def bare_record(folder: Path, index: Path) -> tuple[str, ShardRecord]:
    """The dtype and record of a bare shard, from its index alone. Raises UserError where the files disagree."""
    with index.open("rb") as file:
        header = IndexHeader.unpack(file.read(HEADER.size), index)
        idx_bytes = index.stat().st_size
        if idx_bytes not in (header.size, header.size + header.sequences):  # multimodal shards add a byte a sequence
            raise cut_short(index, idx_bytes, header.size)
        bin_bytes = 0
        if header.sequences:
            last_length, last_pointer = header.pointers_at - 4, header.marks_at - 8
            (length,) = struct.unpack("<i", os.pread(file.fileno(), 4, last_length))
            (pointer,) = struct.unpack("<q", os.pread(file.fileno(), 8, last_pointer))
            bin_bytes = pointer + length * _item_size(header.dtype)
    check_size(str(index.with_suffix(".bin")), bin_bytes)
    record = ShardRecord(
        path=index.relative_to(folder).with_suffix("").as_posix(),
        documents=header.documents,
        sequences=header.sequences,
        tokens=bin_bytes // _item_size(header.dtype),
        bin_bytes=bin_bytes,
        idx_bytes=idx_bytes,
    )
    return header.dtype, record


def _item_size(dtype: str) -> int:
    assert dtype in DTYPE_CODES
    return {"uint8": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "int64": 8}[dtype]
