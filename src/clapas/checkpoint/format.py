"""What a checkpoint looks like on disk.

    checkpoints/step-00001000/
        manifest.json                     parameter -> fragments; file -> size and SHA-256; the run's state
        rank-00000-of-00002.safetensors   the fragments that this rank owns, and its random number generators
        COMMITTED                         the SHA-256 of manifest.json: without it there is no checkpoint

A fragment is a piece [offset, offset + length) of a parameter, flattened, in each of its states: `master` (the fp32
weights; a frozen parameter's in its own dtype) and the optimizer's moments. Under tensor parallelism it may be a piece
of a slice, `part`: dimension, start and stop. Any reader takes what it needs, whatever ranks and ZeRO stage wrote it.
Names are Hugging Face's. There is no pickle. Version 1 knew no `part`; it is read too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from clapas.checkpoint.regions import Part, Region
from clapas.recipe.typed import Section

FORMAT = "clapas-checkpoint"
VERSION = 2
READABLE = (1, 2)
MANIFEST = "manifest.json"
MASTER = "master"
AVERAGE = "average"
"""The state that holds averaged weights, where a run keeps an average: what evaluation and export take."""
Weights = Literal["raw", "average"]
"""Which weights of a checkpoint: those that train, or their average."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I64": torch.int64,
    "U8": torch.uint8,
}
"""What a checkpoint's files hold, by safetensors' names; random number generators are integers."""
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class FileRecord(Section):
    """One file of the checkpoint. bytes: its size; sha256: hexadecimal."""

    name: str
    bytes: int
    sha256: str


class FragmentRecord(Section):
    """Elements [offset, offset + length) of a flattened parameter, or of the slice `part` of it, flattened.

    They lie in `file` under `NAME|STATE|OFFSET`.
    """

    offset: int
    length: int
    file: str
    part: Part | None = None

    @property
    def region(self) -> Region:
        """What it holds of the parameter."""
        return Region(self.part, self.offset, self.length)


class ParameterRecord(Section):
    """A parameter: its full shape, the dtype of each state, the optimizer's scalars (`step`), and its fragments."""

    shape: tuple[int, ...]
    states: dict[str, str]
    scalars: dict[str, float]
    fragments: list[FragmentRecord]


class CheckpointManifest(Section):
    """manifest.json. `training` is whatever the training loop needs to go on; `recipe` the run's, as resolved."""

    format: str = FORMAT
    version: int = VERSION
    step: int
    identity: str
    execution: str
    parameters: dict[str, ParameterRecord]
    aliases: dict[str, str]
    files: list[FileRecord]
    training: dict[str, Any]
    recipe: dict[str, Any]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a parameter, or of a slice of it, in memory: one flat tensor of equal length for each state.

    shape: the whole parameter's. offset: in the flattened parameter, or in the slice `part` of it.
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    states: dict[str, torch.Tensor]
    scalars: dict[str, float]
    part: Part | None = None

    @property
    def length(self) -> int:
        """Elements."""
        return next(iter(self.states.values())).numel()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one rank saves. aliases: tied name -> the name under which it is stored; rng: this rank's generators."""

    fragments: list[Fragment]
    aliases: dict[str, str] = field(default_factory=dict)
    rng: dict[str, torch.Tensor] = field(default_factory=dict)


def tensor_key(name: str, state: str, offset: int) -> str:
    """The name of a fragment's tensor in its safetensors file."""
    return f"{name}|{state}|{offset}"


def rank_file(rank: int, ranks: int) -> str:
    """The name of a rank's safetensors file."""
    return f"rank-{rank:05d}-of-{ranks:05d}.safetensors"


def step_folder(checkpoints: Path, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return checkpoints / f"step-{step:08d}"
