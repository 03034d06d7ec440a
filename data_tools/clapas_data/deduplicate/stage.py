"""What the stages of deduplication share: their plan, their files, and counts of documents by what became of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import orjson

from clapas.recipe.files import atomic_write
from clapas_data.codes import EMPTIED
from clapas_data.deduplicate.arrays import Arrays, bucket_slices
from clapas_data.deduplicate.plan import Plan, read_plan
from clapas_data.files import new_file
from clapas_data.stages import OneTask, Stage

CODES = EMPTIED + 1
KEY_BYTES = 64
"""Of a document, in a stage of buckets."""


@dataclass(frozen=True)
class _Planned:
    """folder: the corpus's work folder."""

    folder: Path

    @property
    def plan(self) -> Plan:
        """The plan in the folder."""
        return read_plan(self.folder)


@dataclass(frozen=True)
class GroupStage(_Planned, Stage):
    """A stage with a task for each group of chunks. file: the name of the file that each writes last."""

    file: ClassVar[str]
    unit: ClassVar[tuple[str, str]] = ("group", "groups")

    def tasks(self) -> int:
        """One a group."""
        return len(self.plan.groups)

    def done(self, task: int) -> bool:
        """Whether its file is there."""
        return self.plan.path(self.file, task).exists()

    def size(self, task: int) -> int:
        """Bytes of its text."""
        return sum(place.bytes for place in self.plan.groups[task])


@dataclass(frozen=True)
class BucketStage(_Planned, Stage):
    """A stage with a task for each bucket of hashes. file: the name of the file that each writes last."""

    file: ClassVar[str]
    unit: ClassVar[tuple[str, str]] = ("bucket", "buckets")

    def done(self, task: int) -> bool:
        """Whether its file is there."""
        return self.plan.path(self.file, task).exists()

    def size(self, task: int) -> int:
        """Bytes of its keys, about."""
        return KEY_BYTES * self.plan.documents // self.tasks()


@dataclass(frozen=True)
class JoinStage(_Planned, OneTask):
    """A stage of one task. file: the name of the file that it writes last."""

    file: ClassVar[str]

    def done(self, task: int) -> bool:
        """Whether its file is there."""
        return self.plan.path(self.file).exists()


def gather_bucket(plan: Plan, file: str, shelf: str, bucket: int, count: int, *columns: str) -> list[np.ndarray]:
    """A bucket's slices of all groups' files end to end, a column each; `document` becomes its number in the corpus."""
    first, stop = bucket_slices(bucket, count)
    found: list[list[np.ndarray]] = [[] for _ in columns]
    for group, start in enumerate(plan.starts[:-1]):
        with Arrays(plan.path(file, group)) as arrays:
            for column, name, values in zip(found, columns, arrays.slices(shelf, first, stop, *columns), strict=True):
                column.append(values.astype(np.int64) + start if name == "document" else values)
    return [np.concatenate(column) for column in found]


def write_values(path: Path, values: np.ndarray) -> None:
    """Write one value a document."""
    with new_file(path) as partial:
        values.tofile(partial)


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of all documents after a step. documents, bytes: a value a code. counts: what else was counted."""

    documents: list[int]
    bytes: list[int]
    counts: dict[str, int]


def write_tally(plan: Plan, name: str, codes: np.ndarray, sizes: str = "exact-keys", **counts: int) -> None:
    """Count documents and their bytes by code. sizes: the groups' files that hold the bytes."""
    documents, size = np.zeros(CODES, np.int64), np.zeros(CODES, np.int64)
    for group, (start, stop) in enumerate(zip(plan.starts, plan.starts[1:], strict=False)):
        with Arrays(plan.path(sizes, group)) as arrays:
            own, its = codes[start:stop], arrays.read("bytes")
        documents += np.bincount(own, minlength=CODES)
        size += np.array([its[own == code].sum() for code in range(CODES)])
    tally = Tally(documents.tolist(), size.tolist(), counts)
    atomic_write(plan.path(name), orjson.dumps(asdict(tally)))


def read_tally(plan: Plan, name: str) -> Tally:
    """The counts that a join wrote."""
    return Tally(**orjson.loads(plan.path(name).read_bytes()))
