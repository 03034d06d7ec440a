"""What is to be deduplicated, how, and where the stages' files lie.

Stages carry the folder alone; the plan in it is read once a process. A task works on a *group* of consecutive chunks,
or on a *bucket* of hashes. Both are cut by the data alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clapas.recipe.files import atomic_write
from clapas_data.corpus import Corpus, HeldOut
from clapas_data.steps.deduplicate import Lines, Near

GROUP_BYTES = 64 * 2**20
"""UTF-8 bytes of text of a group of a large corpus; memory follows from it."""
GROUPS = 64
"""Groups of a corpus that is too small to fill as many of GROUP_BYTES."""
FOLDER = "deduplicate"


@dataclass(frozen=True, slots=True)
class Place:
    """A chunk. path: of its `.arrow`. first: the number of its first document. bytes: of UTF-8 text, about."""

    path: Path
    source: str
    first: int
    documents: int
    bytes: int


@dataclass(frozen=True)
class Plan:
    """name: the corpus's, for messages. folder: its work folder; all files lie in `deduplicate/` there.

    chunks: in the corpus's order. near, lines: None where not asked for.
    """

    name: str
    folder: Path
    chunks: tuple[Place, ...]
    held_out: tuple[HeldOut, ...] = ()
    near: Near | None = None
    lines: Lines | None = None

    @classmethod
    def of(cls, corpus: Corpus, folder: Path, chunks: tuple[Place, ...]) -> Plan:
        """What a corpus asks for."""
        near = next((step for step in corpus.across if isinstance(step, Near)), None)
        lines = next((step for step in corpus.across if isinstance(step, Lines)), None)
        return cls(corpus.name, folder, chunks, corpus.held_out, near, lines)

    @cached_property
    def documents(self) -> int:
        """All documents."""
        return sum(place.documents for place in self.chunks)

    @cached_property
    def groups(self) -> tuple[tuple[Place, ...], ...]:
        """The chunks, in groups of consecutive ones of about equal size."""
        limit = min(GROUP_BYTES, sum(place.bytes for place in self.chunks) // GROUPS)
        groups: list[list[Place]] = [[]]
        size = 0
        for place in self.chunks:
            if size > limit:
                groups.append([])
                size = 0
            groups[-1].append(place)
            size += place.bytes
        return tuple(tuple(group) for group in groups if group)

    @cached_property
    def starts(self) -> np.ndarray:
        """The number of each group's first document, and the end: int64[groups + 1]."""
        return np.array([*(group[0].first for group in self.groups), self.documents], np.int64)

    def path(self, name: str, number: int | None = None) -> Path:
        """A file of a stage: of one task, or of all."""
        return self.folder / FOLDER / (name if number is None else f"{name}-{number:06}.safetensors")

    def array(self, name: str, dtype: type) -> np.ndarray:
        """A file of one value a document, memory-mapped."""
        return np.memmap(self.path(name), dtype, "r") if self.documents else np.zeros(0, dtype)

    def write(self) -> None:
        """Keep it in its folder, for the stages' tasks."""
        (self.folder / FOLDER).mkdir(exist_ok=True)
        values: dict[str, Any] = {
            "name": self.name,
            "chunks": [{**asdict(place), "path": str(place.path)} for place in self.chunks],
            "held_out": [choice.model_dump(mode="json") for choice in self.held_out],
            "near": self.near and self.near.model_dump(mode="json"),
            "lines": self.lines and self.lines.model_dump(mode="json"),
        }
        atomic_write(self.path("plan.json"), orjson.dumps(values))


@lru_cache(maxsize=2)
def read_plan(folder: Path) -> Plan:
    """The plan that a work folder keeps."""
    values = orjson.loads((folder / FOLDER / "plan.json").read_bytes())
    return Plan(
        values["name"],
        folder,
        tuple(Place(Path(place.pop("path")), **place) for place in values["chunks"]),
        tuple(HeldOut.model_validate(choice) for choice in values["held_out"]),
        values["near"] and Near.model_validate(values["near"]),
        values["lines"] and Lines.model_validate(values["lines"]),
    )
