"""The work folder of a corpus: what its stages read and write between the sources and the shards.

It lies in the cache, named by a hash of all that decides the text and the choice among it; `tokenizer train` and
`data build` share it. Prepared text lies beside it, a folder a source, and is shared by all corpora with that source.

    plan.json           the corpus as read, its sources' folders, files and how many parts each has (prepare.py)
    first.npy           the number of each chunk's first document, counted through the corpus
    index.json          what reading and the corpus's steps took in and gave out, by source
    choice.bin          one byte a document (choose.py); steps.json, written after it, has the steps' counts
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clapas.recipe.files import atomic_write
from clapas_data.chunks import Chunk, find_chunk
from clapas_data.corpus import Corpus
from clapas_data.sources import Part
from clapas_data.step_record import StepRecord

PLAN = "plan.json"
PARTS = "parts.json"
FIRST = "first.npy"
INDEX = "index.json"
CHOICE = "choice.bin"
STEPS = "steps.json"
SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where the text of a part is. number: counted through the corpus. path: of its `.arrow`, shared by corpora."""

    number: int
    source: str
    part: int
    path: Path


@dataclass(frozen=True)
class Work:
    """A work folder. Everything else is read from it when asked."""

    folder: Path

    @property
    def corpus(self) -> Corpus:
        """The corpus as it was read, with absolute paths."""
        return self._plan.corpus

    @property
    def chunks(self) -> list[ChunkPlace]:
        """All chunks, in the corpus's order; one a part."""
        return self._plan.chunks

    def facts(self, source: str) -> dict[str, Any]:
        """What was known of a source's files when they were listed (`source_facts`): what was read, not what is now."""
        return self._plan.facts[source]

    @property
    def _plan(self) -> _Plan:
        return _read_plan(self.folder)

    def part(self, number: int) -> Part:
        """What a chunk is read from."""
        place = self.chunks[number]
        return replace(_read_parts(place.path.parent)[place.part], source=self.corpus.sources[place.source])

    @property
    def folders(self) -> list[Path]:
        """This folder and those of its sources, sorted."""
        return sorted({self.folder, *(place.path.parent for place in self.chunks)})

    def note_seconds(self, stage: str, seconds: float) -> None:
        """Keep how long a process worked on a stage, for `seconds`."""
        folder = self.folder / SECONDS
        folder.mkdir(exist_ok=True)
        name = f"{stage}-{os.uname().nodename}-{os.getpid()}-{time.time_ns()}"
        (folder / name).write_text(f"{seconds:.3f}")

    def seconds(self) -> dict[str, float]:
        """How long each stage took so far, of all processes together."""
        found: dict[str, float] = {}
        for path in (self.folder / SECONDS).glob("*-*-*-*"):
            stage = path.name.rsplit("-", 3)[0]
            found[stage] = found.get(stage, 0.0) + float(path.read_text() or 0)
        return found

    def chunk(self, number: int) -> Chunk:
        """A chunk, once it has been made."""
        path = self.chunks[number].path
        if (found := find_chunk(path)) is None:
            raise FileNotFoundError(path)
        return found

    @property
    def first(self) -> np.ndarray:
        """The number of each chunk's first document, and the end: int64[chunks + 1]; there when `index` is done."""
        return np.load(self.folder / FIRST)

    def choice(self) -> np.ndarray:
        """The choice of each document: uint8[documents], memory-mapped."""
        path = self.folder / CHOICE
        return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)

    @property
    def steps(self) -> list[StepRecord]:
        """What all steps took in and gave out; there when `choose` is done."""
        return [StepRecord(**step) for step in orjson.loads((self.folder / STEPS).read_bytes())]


@dataclass(frozen=True, slots=True)
class _Plan:
    corpus: Corpus
    chunks: list[ChunkPlace]
    facts: dict[str, dict[str, Any]]


@lru_cache(maxsize=4)
def _read_plan(folder: Path) -> _Plan:
    values = orjson.loads((folder / PLAN).read_bytes())
    chunks: list[ChunkPlace] = []
    for name, source in values["sources"].items():
        own = (folder / source["folder"]).resolve()
        for part in range(source["parts"]):
            chunks.append(ChunkPlace(len(chunks), name, part, own / f"{part:05}.arrow"))
    facts = {name: source["facts"] for name, source in values["sources"].items()}
    return _Plan(Corpus.model_validate(values["corpus"]), chunks, facts)


@lru_cache(maxsize=4)
def _read_parts(folder: Path) -> list[Part]:
    """The parts of a source, without the source."""
    values = orjson.loads((folder / PARTS).read_bytes())
    parts = (
        {name: tuple(value) if isinstance(value, list) else value for name, value in part.items()} for part in values
    )
    return [Part(None, **part) for part in parts]  # pyright: ignore[reportArgumentType] - `Work.part` puts it in


def parts_json(parts: list[Part]) -> bytes:
    """Parts as a source's folder keeps them."""
    names = [field.name for field in fields(Part) if field.name != "source"]
    return orjson.dumps([{name: getattr(part, name) for name in names} for part in parts])


def write_plan(folder: Path, corpus: Corpus, sources: dict[str, dict[str, Any]]) -> None:
    """Write what a work folder begins with. sources: name -> folder (relative to the work folder), parts and facts."""
    values = corpus.model_dump(mode="json")
    values["steps"] = [{step.pop("step"): step} for step in values["steps"]]  # as a corpus file says it
    atomic_write(folder / PLAN, orjson.dumps({"corpus": values, "sources": sources}))
    _read_plan.cache_clear()
