"""Sorted distinct 64-bit numbers in a file that processes map, made of any number of them in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

BUCKETS = 64
"""Files by the highest six bits: each is sorted on its own, so memory is about a 64th of all."""
SPILL = 2**22
"""Numbers held before they go to the files: 32 MB."""


def write_sorted(path: Path, arrays: Iterable[np.ndarray], spill: int = SPILL) -> None:
    """Write the distinct values of uint64 arrays in order, 8 bytes each. Disk: as much again while it works."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}-") as folder, path.open("wb") as file:
        for values in _sorted_buckets(Path(folder), arrays, spill):
            file.write(values.tobytes())


def open_sorted(path: Path) -> np.ndarray:
    """What `write_sorted` wrote: uint64, memory-mapped."""
    return np.memmap(path, np.uint64, "r") if path.stat().st_size else np.zeros(0, np.uint64)


def _sorted_buckets(folder: Path, arrays: Iterable[np.ndarray], spill: int) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    count = 0
    for values in arrays:
        held.append(values)
        count += len(values)
        if count >= spill:
            _append(folder, held)
            held, count = [], 0
    if not any(folder.iterdir()):
        yield np.unique(np.concatenate([np.zeros(0, np.uint64), *held]))
        return
    _append(folder, held)
    for bucket in range(BUCKETS):
        path = folder / str(bucket)
        if path.exists():
            yield np.unique(np.fromfile(path, np.uint64))


def _append(folder: Path, arrays: list[np.ndarray]) -> None:
    values = np.unique(np.concatenate([np.zeros(0, np.uint64), *arrays]))
    edges = np.searchsorted(values, np.arange(1, BUCKETS, dtype=np.uint64) << np.uint64(58))
    for bucket, own in enumerate(np.split(values, edges)):
        if len(own):
            with (folder / str(bucket)).open("ab") as file:
                file.write(own.tobytes())
