"""From a corpus file to clean text that is chosen: read, extract, clean, deduplicate, hold out, decontaminate.

The work is kept in the cache under a key of all that decides it, a part at a time: `tokenizer train` and `data build`
share it, and what was finished before an interruption is not done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.hashes import content_hash
from clapas_data.cache import cache_folder
from clapas_data.choose import choosing_stages
from clapas_data.chunks import Counts, write_chunk
from clapas_data.corpus import Corpus, Source
from clapas_data.deduplicate.plan import Place, Plan
from clapas_data.files import locked, new_file, remove_partials
from clapas_data.local import run_stages
from clapas_data.prepared import Prepared
from clapas_data.sources import read_part, source_facts, source_identity, source_parts
from clapas_data.sources.part import PART_BYTES
from clapas_data.stages import OneTask, Stage
from clapas_data.steps.step import Step
from clapas_data.work import FIRST, INDEX, PARTS, Work, parts_json, write_plan
from clapas_data.workers import Workers

PREPARATION = 6
"""Version of what extraction, cleaning and choosing do: raised when they change, so that cached work is not reused."""


def source_key(name: str, source: Source, steps: Sequence[Step] = ()) -> str:
    """Hash of what decides a source's prepared text. Raises UserError where its local files are missing."""
    return content_hash([PREPARATION, source_identity(name, source), [step.identity() for step in steps]])


def corpus_key(corpus: Corpus) -> str:
    """Hash of what decides a corpus's text and the choice among it."""
    return _corpus_key(corpus, {name: _own_key(corpus, name) for name in corpus.sources})


def _own_key(corpus: Corpus, name: str) -> str:
    return source_key(name, corpus.sources[name], corpus.steps_of(name))


def _corpus_key(corpus: Corpus, sources: dict[str, str]) -> str:
    return content_hash([PREPARATION, list(sources.items()), corpus.choosing()])


def prepare(corpus: Corpus, workers: Workers) -> Prepared:
    """Prepare a corpus, or find it prepared.

    Raises UserError for what is wrong with its sources (missing, not UTF-8, not the declared format, empty).
    """
    work = plan_work(corpus)
    with _alone(work.folders):
        run_stages(preparing_stages(work, corpus), workers, work.note_seconds)
    return Prepared(work)


def plan_work(corpus: Corpus) -> Work:
    """Fetch what must be fetched, cut the sources into parts and write down the plan: the only stage that may need the
    internet, and that looks at all of the sources' files."""
    keys = {name: _own_key(corpus, name) for name in corpus.sources}
    work = Work(cache_folder("prepared", f"{corpus.name}-{_corpus_key(corpus, keys)[:16]}"))
    sources = {}
    for name, source in corpus.sources.items():
        folder = cache_folder("prepared", f"{name}-{keys[name][:16]}")
        with locked(folder):
            parts, facts = _list_parts(folder, name, source), source_facts(name, source)
            sources[name] = {"folder": f"../{folder.name}", "parts": parts, "facts": facts}
    write_plan(work.folder, corpus, sources)
    return work


def _list_parts(folder: Path, name: str, source: Source) -> int:
    """Write down a source's parts. Returns how many; the source is not touched where all have been read before."""
    listing = folder / PARTS
    if listing.exists():
        count = len(orjson.loads(listing.read_bytes()))
        if all((folder / f"{part:05}.json").exists() for part in range(count)):
            return count
    parts = source_parts(name, source)
    atomic_write(listing, parts_json(parts))
    return len(parts)


@contextmanager
def _alone(folders: Sequence[Path]) -> Iterator[None]:
    """While no other process of this machine fills these folders (always in the same order: nobody waits in a ring)."""
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(locked(folder))
        _sweep(folders)
        try:
            yield
        except BaseException:
            _sweep(folders)
            raise


def _sweep(folders: Sequence[Path]) -> None:
    for folder in folders:
        remove_partials(folder)
        for inner in folder.iterdir():
            if inner.is_dir():
                remove_partials(inner)


def preparing_stages(work: Work, corpus: Corpus) -> list[Stage]:
    """From parts to the choice among their documents. Nothing is read yet: the work folder need not be there."""
    return [Read(work), Index(work), *choosing_stages(work, corpus)]


@dataclass(frozen=True)
class Read(Stage):
    """Each part read, extracted, cleaned and put through the steps that look at one document at a time."""

    name = "read"
    work: Work

    def tasks(self) -> int:
        return len(self.work.chunks)

    def done(self, task: int) -> bool:
        return self.work.chunks[task].path.with_suffix(".json").exists()

    def run(self, task: int) -> None:
        place = self.work.chunks[task]
        steps = self.work.corpus.steps_of(place.source)
        write_chunk(place.path, read_part(self.work.part(task)), steps, place.source)

    def size(self, task: int) -> int:
        part = self.work.part(task)
        return PART_BYTES if part.stop else sum(Path(path).stat().st_size for path in part.paths)


@dataclass(frozen=True)
class Index(OneTask):
    """Documents numbered through the corpus, and what came of each source summed. Raises UserError for an empty one."""

    name = "index"
    work: Work

    def done(self, task: int) -> bool:
        return (self.work.folder / INDEX).exists()

    def run(self, task: int) -> None:
        first = np.zeros(len(self.work.chunks) + 1, np.int64)
        totals = {name: Counts() for name in self.work.corpus.sources}
        places = []
        for chunk in self.work.chunks:
            counts = self.work.chunk(chunk.number).counts
            start = int(first[chunk.number])
            first[chunk.number + 1] = start + counts.kept
            totals[chunk.source].add(counts)
            places.append(Place(chunk.path, chunk.source, start, counts.kept, counts.bytes_cleaned))
        for name, total in totals.items():
            _refuse_empty(self.work.corpus, name, total)
        with new_file(self.work.folder / FIRST) as partial, partial.open("wb") as file:
            np.save(file, first)
        Plan.of(self.work.corpus, self.work.folder, tuple(places)).write()
        values = {name: total.values() for name, total in totals.items()}
        atomic_write(self.work.folder / INDEX, orjson.dumps(values))


def _refuse_empty(corpus: Corpus, name: str, counts: Counts) -> None:
    if counts.kept:
        return
    found = "all empty"
    if counts.cleaned:
        steps = zip(corpus.steps_of(name), counts.steps, strict=True)
        left = ", ".join(f"{step.step} left {its.documents_out}" for step, its in steps)
        found = f"{counts.cleaned} with text; {left}"
    raise UserError(
        f"corpus {corpus.name}: source {name} has no text" + (" left" if counts.cleaned else ""),
        where=corpus.sources[name].origin,
        found=f"{counts.read} documents, {counts.bytes_read} bytes, {found}",
    )
