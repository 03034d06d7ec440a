"""What one side of a comparison trains: the same for all, but for what is compared. Knows no torch and no Clapas."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama decoder with tied embeddings and heads of 64."""

    hidden_size: int
    layers: int
    intermediate_size: int
    vocab_size: int

    @property
    def heads(self) -> int:
        return self.hidden_size // 64

    @property
    def parameters(self) -> int:
        """Tied embeddings count once."""
        layer = 4 * self.hidden_size**2 + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        return self.layers * layer + self.hidden_size * (self.vocab_size + 1)


@dataclass(frozen=True, slots=True)
class Job:
    """One side's work.

    tokens: the `.bin` of a Megatron shard, of `dtype`, in a folder of its own. batch: samples a step, over all ranks.
    threads: of each rank. cpu_settings: whether `clapas.model.cpu.prepare_cpu` is applied where it is not by itself.
    scratch: a folder for what the side writes. sequence_length: tokens of a sample.
    """

    shape: Shape
    tokens: str
    dtype: str
    scratch: str = ""
    batch: int = 8
    sequence_length: int = 256
    threads: int = 2
    rank: int = 0
    ranks: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    zero_stage: int = 1
    compile: bool = False
    cpu_settings: bool = False

    def to_json(self) -> str:
        """For the command line of a side."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_command_line() -> Job:
        """The job that this process was started with."""
        values = json.loads(sys.argv[1])
        return Job(**values | {"shape": Shape(**values["shape"])})


class Samples:
    """The shard cut into samples of `sequence_length` + 1 tokens: inputs, and the last one's target. Memory-mapped."""

    def __init__(self, job: Job) -> None:
        self._tokens = np.memmap(Path(job.tokens), dtype=job.dtype, mode="r")
        self._length = job.sequence_length

    def __len__(self) -> int:
        return (len(self._tokens) - 1) // self._length

    def __getitem__(self, index: int) -> np.ndarray:
        start = index * self._length
        return self._tokens[start : start + self._length + 1].astype(np.int64)


def batches(job: Job) -> Iterator[np.ndarray]:
    """This rank's part of each step's samples, in order and without end, (B, sequence_length + 1) int64."""
    samples = Samples(job)
    share = job.batch // job.ranks
    for step in count():
        first = step * job.batch + job.rank * share
        yield np.stack([samples[index % len(samples)] for index in range(first, first + share)])
