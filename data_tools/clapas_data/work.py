"""The work folder of a corpus: what its stages read and write between the sources and the shards.

It lies in the cache, named by a hash of all that decides the text and the choice among it; `tokenizer train` and
`data build` share it. Prepared text lies beside it, a folder a source, and is shared by all corpora with that source.

    plan.json           the corpus as read, its sources' folders and how many parts each has (prepare.py)
    survey/NNNNNN.npy   of each document of a chunk what the choice among documents needs, without its text
    first.npy           the number of each chunk's first document, counted through the corpus
    counts.json         what reading and the corpus's steps took in and gave out, by source
    choice.bin          one byte a document: choose.py; choice.json, written after it, has the steps' counts
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clapas_data.chunks import Chunk, find_chunk
from clapas_data.corpus import Corpus
from clapas_data.read import Part

PLAN = "plan.json"
PARTS = "parts.json"

SURVEY = np.dtype([("hash", "<u8", 2), ("bytes", "<i8"), ("batch", "<u4"), ("held", "?")])
"""Of a document: the hash of its text, its UTF-8 bytes, its record batch within the chunk, whether `held_out` takes it:
29 bytes."""


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

    @property
    def _plan(self) -> _Plan:
        return _read_plan(self.folder)

    def part(self, number: int) -> Part:
        """What a chunk is read from."""
        place = self.chunks[number]
        return replace(_read_parts(place.path.parent)[place.part], source=self.corpus.sources[place.source])

    def chunk(self, number: int) -> Chunk:
        """A chunk: its text as the steps of one document left it, or as a stage after them edited it."""
        path = self.text_path(number)
        found = find_chunk(self.chunks[number].path)
        if found is None:
            raise FileNotFoundError(path)
        return found if path == found.path else replace(found, path=path)

    def text_path(self, number: int) -> Path:
        """The `.arrow` with a chunk's text: of this corpus's own where a stage edited it."""
        edited = self.folder / "edited" / f"{number:06}.arrow"
        return edited if edited.exists() else self.chunks[number].path

    def survey_path(self, number: int) -> Path:
        """Where a chunk's survey is."""
        return self.folder / "survey" / f"{number:06}.npy"

    def survey(self, number: int) -> np.ndarray:
        """A chunk's documents without their text: SURVEY[documents], memory-mapped."""
        return np.load(self.survey_path(number), mmap_mode="r")

    @cached_property
    def first(self) -> np.ndarray:
        """The number of each chunk's first document, and the end: int64[chunks + 1]."""
        return np.load(self.folder / "first.npy")

    def choice(self) -> np.ndarray:
        """The choice of each document: uint8[documents], memory-mapped."""
        path = self.folder / "choice.bin"
        return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)

    def of_source(self, source: str) -> Iterator[ChunkPlace]:
        """The chunks of a source, in order."""
        return (place for place in self.chunks if place.source == source)


@dataclass(frozen=True, slots=True)
class _Plan:
    corpus: Corpus
    chunks: list[ChunkPlace]


@lru_cache(maxsize=4)
def _read_plan(folder: Path) -> _Plan:
    values = orjson.loads((folder / PLAN).read_bytes())
    chunks: list[ChunkPlace] = []
    for name, source in values["sources"].items():
        own = (folder / source["folder"]).resolve()
        for part in range(source["parts"]):
            chunks.append(ChunkPlace(len(chunks), name, part, own / f"{part:05}.arrow"))
    return _Plan(Corpus.model_validate(values["corpus"]), chunks)


@lru_cache(maxsize=4)
def _read_parts(folder: Path) -> list[Part]:
    """The parts of a source, without the source."""
    values = orjson.loads((folder / PARTS).read_bytes())
    return [Part(None, **{**part, "paths": tuple(part["paths"])}) for part in values]  # pyright: ignore[reportArgumentType] - `Work.part` puts it in


def parts_json(parts: list[Part]) -> bytes:
    """Parts as a source's folder keeps them."""
    names = [field.name for field in fields(Part) if field.name != "source"]
    return orjson.dumps([{name: getattr(part, name) for name in names} for part in parts])


def plan_json(corpus: Corpus, sources: dict[str, dict[str, Any]]) -> bytes:
    """A corpus as its work folder keeps it. sources: name -> folder (relative to the work folder) and parts."""
    values = corpus.model_dump(mode="json", exclude_none=True)
    values["steps"] = [{step.pop("step"): step} for step in values["steps"]]  # as a corpus file says it
    return orjson.dumps({"corpus": values, "sources": sources})
