"""A checkpoint that one process writes by slices: memory holds one file's, however large the model.

It is like a run's for whoever reads weights. It has no optimizer's states and an identity of its own, so that no run
goes on from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clapas.checkpoint.format import MASTER, Fragment, Snapshot, step_folder
from clapas.checkpoint.writer import begin, commit, write_rank

FILE_ELEMENTS = 2**28
"""Elements of one file of the result, 1 GiB in fp32: what is in memory at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file's place among the files of a checkpoint that one process writes."""

    rank: int
    size: int


Slice = tuple[str, int, int]
"""(parameter, offset, length)"""


def write_by_slices(
    out: Path,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[Slice], torch.Tensor],
    aliases: dict[str, str],
    facts: dict[str, Any],
    file_elements: int = FILE_ELEMENTS,
) -> Path:
    """Commit OUT/checkpoints/step-…; returns that folder. Nothing is left where it fails.

    shapes: of all parameters. read: gives the elements of a slice, flat. facts: the manifest's, `step` among them.
    """
    final = step_folder(out / "checkpoints", facts["step"])
    partial = final.with_name(f".{final.name}.partial")
    files = list(_files(shapes, file_elements))
    try:
        begin(partial)
        for number, slices in enumerate(files):
            fragments = [
                Fragment(name, tuple(shapes[name]), offset, {MASTER: read((name, offset, length))}, {})
                for name, offset, length in slices
            ]
            write_rank(partial, Snapshot(fragments, aliases), Part(number, len(files)))
            del fragments  # before the next file's are read
        commit(partial, final, aliases, facts, len(files))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return final


def _files(shapes: Mapping[str, tuple[int, ...]], file_elements: int) -> Iterator[list[Slice]]:
    """All parameters as slices, packed into files."""
    held, room = list[Slice](), file_elements
    for name, shape in shapes.items():
        elements, offset = torch.Size(shape).numel(), 0
        while offset < elements:
            length = min(room, elements - offset)
            held.append((name, offset, length))
            offset, room = offset + length, room - length
            if room == 0:
                yield held
                held, room = [], file_elements
    if held:
        yield held
