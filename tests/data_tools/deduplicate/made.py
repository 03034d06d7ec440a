"""Small corpora as chunks on disk, deduplicated by the real stages, and the same by definition."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pyarrow.parquet as pq

from clapas_data.chunks import write_chunk
from clapas_data.codes import TRAIN
from clapas_data.corpus import HeldOut
from clapas_data.deduplicate.finish import CODES_FILE, DUPLICATES, steps
from clapas_data.deduplicate.lines import LineFilter
from clapas_data.deduplicate.plan import Place, Plan
from clapas_data.deduplicate.stages import stages_of
from clapas_data.sources import RawDocument
from clapas_data.stages import Stage
from clapas_data.steps.deduplicate import Lines, Near

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Files there need not wait for a disk: thirty of them a corpus."""


@dataclass(frozen=True)
class Result:
    """What deduplication made of a corpus. links: document -> (the one that stays, similarity, component).

    texts: of the training documents, as they are read afterwards. steps: name -> documents in, out, bytes in, out.
    """

    codes: list[int]
    links: dict[int, tuple[int, float, int]]
    texts: dict[int, str]
    steps: dict[str, tuple[int, int, int, int]]


def run_all(stages: Sequence[Stage]) -> None:
    """Every stage's tasks, in this process."""
    for stage in stages:
        for task in stage.missing():
            stage.run(task)


def deduplicate(
    texts: Sequence[str],
    near: Near | None = None,
    lines: Lines | None = None,
    *,
    cuts: Sequence[int] = (),
    held_out: Sequence[int] = (),
    sources: Sequence[str] = ("made",),
    run: Callable[[Sequence[Stage]], None] = run_all,
) -> Result:
    """Deduplicate texts. cuts: where chunks begin, beside 0; source i has the chunks i, i + the number of sources …"""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        root = Path(folder)
        bounds = sorted({0, len(texts), *(min(cut, len(texts)) for cut in cuts)})
        places = []
        for number, (first, stop) in enumerate(pairwise(bounds)):
            rows = [RawDocument(str(place), "file", texts[place], 0) for place in range(first, stop)]
            chunk = write_chunk(root / f"{number:05}.arrow", rows)
            assert chunk.counts.kept == len(rows), "texts are clean and not empty"
            source = sources[number % len(sources)]
            places.append(Place(chunk.path, source, first, len(rows), chunk.counts.bytes_cleaned))
        choices = (HeldOut(ids=tuple(map(str, held_out))),) if held_out else ()
        plan = Plan("made", root, tuple(places), choices, near, lines)
        plan.write()
        run(stages_of(plan))
        codes = np.array(plan.array(CODES_FILE, np.uint8)).tolist()
        rows = pq.read_table(plan.path(DUPLICATES)).to_pylist()
        links = {row["document"]: (row["kept"], row["jaccard"], row["component"]) for row in rows}
        records = {
            step.name: (step.documents_in, step.documents_out, step.bytes_in, step.bytes_out)
            for step in steps(plan, {})
        }
        return Result(codes, links, _read(plan, texts, codes), records)


def _read(plan: Plan, texts: Sequence[str], codes: Sequence[int]) -> dict[int, str]:
    numbers = [number for number, code in enumerate(codes) if code == TRAIN]
    own = [texts[number] for number in numbers]
    lines = LineFilter.open(plan)
    return dict(zip(numbers, lines.strip(own, np.array(numbers, np.int64)) if lines else own, strict=True))


VOCABULARY = ["le", "la", "maire", "code", "loi", "état", "peut", "travail", "droit", "article", "cour", "juge"]


def variants(random: Random, originals: int, copies: int, words: int, most_edits: int) -> list[str]:
    """Documents in families: each an original's words with up to `most_edits` of them replaced, in any order."""
    found = []
    for _ in range(originals):
        original = [random.choice(VOCABULARY) + str(random.randrange(50)) for _ in range(words)]
        for _ in range(copies):
            copy = list(original)
            for _ in range(random.randint(0, most_edits)):
                copy[random.randrange(len(copy))] = "autre" + str(random.randrange(1000))
            found.append(" ".join(copy))
    random.shuffle(found)
    return found


@lru_cache(maxsize=1000)
def grams(text: str, size: int) -> set[tuple[str, ...]]:
    """A text's word n-grams, by definition."""
    words = text.lower().split()
    if len(words) < size:
        return {tuple(words)}
    return {tuple(words[place : place + size]) for place in range(len(words) - size + 1)}


def similarity(one: str, other: str, size: int) -> float:
    """The Jaccard similarity of two texts' n-grams, by definition."""
    ones, others = grams(one, size), grams(other, size)
    return len(ones & others) / len(ones | others)
