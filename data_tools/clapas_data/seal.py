"""The end of a build: one documents table, one table of samples of what was left out, and the manifest."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from clapas.recipe.hashes import file_hash
from clapas_data.chunks import read_rejected, write_rejected
from clapas_data.corpus import Corpus
from clapas_data.deduplicate.plan import FOLDER
from clapas_data.documents import DOCUMENTS, ROW_GROUP
from clapas_data.encode import open_tokenizer
from clapas_data.files import new_file
from clapas_data.manifest import MANIFEST, FileRecord, Manifest, ShardEntry, SourceRecord
from clapas_data.personal.seems import unsaid
from clapas_data.pipeline import Rejected, fewest
from clapas_data.rejected import REJECTED
from clapas_data.shards import token_dtype
from clapas_data.stages import OneTask
from clapas_data.step_record import StepRecord
from clapas_data.work import Work
from clapas_data.write import TOKENIZER, BuildFolder, documents_schema

MANY = 10_000
"""Samples of dropped documents that are held beyond those kept so far, before they are sorted out: 40 MB."""


@dataclass(frozen=True)
class Seal(OneTask):
    """The tables joined, the manifest written, which means that all is there, and the work folder removed."""

    name = "seal"
    folder: BuildFolder

    def done(self, task: int) -> bool:
        return (self.folder.out / MANIFEST).exists()

    def run(self, task: int) -> None:
        out, work, plans = self.folder.out, self.folder.work, self.folder.plans()
        records = [orjson.loads(self.folder.record(plan).read_bytes()) for plan in plans]
        entries = [ShardEntry(**record["entry"]) for record in records]
        _join_tables(out / DOCUMENTS, work, [self.folder.rows(plan) for plan in plans])
        files = [out / DOCUMENTS]
        if _join_samples(out / REJECTED, work):
            files.append(out / REJECTED)
        tokenizer = open_tokenizer(out / TOKENIZER)
        files += sorted(path for path in tokenizer.path.iterdir() if path.is_file())
        corpus = work.corpus
        manifest = Manifest(
            name=corpus.name,
            tokenizer=tokenizer.record,
            dtype=token_dtype(tokenizer.record.vocab_size).name,  # pyright: ignore[reportArgumentType] - a name of its type
            sources={name: source_record(corpus, name, work.facts(name)) for name in corpus.sources},
            steps=(*work.steps, _encoding(entries, sum(record["seconds"] for record in records))),
            files={
                path.relative_to(out).as_posix(): FileRecord(bytes=path.stat().st_size, sha256=file_hash(path))
                for path in files
            },
            shards=tuple(entries),
        )
        warn_of_persons(manifest)
        manifest.write(out)
        shutil.rmtree(self.folder.own, ignore_errors=True)


def warn_of_persons(manifest: Manifest) -> None:
    """Say on stderr, a line a source, what a release will ask of sources with personal or health data."""
    for name, source in manifest.sources.items():
        said = (source.model_extra or {}).get("contains", ())
        if "health" in said:
            print(
                f"warning: source {name}: contains health data: a release of a model trained on it asks for the legal "
                "basis, the figures of memorisation, and that it is no medical device",
                file=sys.stderr,
            )
        if hints := unsaid(manifest.steps, name, said):
            print(
                f"warning: source {name}: seems to contain {' and '.join(hints)} data, by what the step `personal` "
                f"found; if it does, say so: sources.{name}.contains",
                file=sys.stderr,
            )


def _join_tables(path: Path, work: Work, tables: Iterable[Path]) -> None:
    with new_file(path) as partial, pq.ParquetWriter(partial, documents_schema(work)) as table:
        for own in tables:
            table.write_table(pq.read_table(own), ROW_GROUP)


def _join_samples(path: Path, work: Work) -> bool:
    """Write samples of what the steps dropped, of each reason those with the lowest hashes. False where none are."""
    samples: list[Rejected] = []
    enough = 0
    for own in _samples(work):
        samples += own
        if len(samples) > 2 * enough + MANY:  # seldom: a large corpus has many chunks
            samples = fewest(samples)
            enough = len(samples)
    if samples := fewest(samples):
        write_rejected(path, samples)
    return bool(samples)


def _samples(work: Work) -> Iterator[list[Rejected]]:
    for chunk in work.chunks:
        yield work.chunk(chunk.number).rejected()
    for file in sorted((work.folder / FOLDER / "rejected").glob("*.parquet")):
        yield read_rejected(file)


def _encoding(entries: list[ShardEntry], seconds: float) -> StepRecord:
    """Encoding as a step; seconds: of all processes together."""
    documents, size = sum(entry.documents for entry in entries), sum(entry.text_bytes or 0 for entry in entries)
    return StepRecord(
        name="tokenize",
        documents_in=documents,
        documents_out=documents,
        bytes_in=size,
        bytes_out=size,
        seconds=round(seconds, 3),
    )


def source_record(corpus: Corpus, name: str, files: dict[str, Any]) -> SourceRecord:
    """What a manifest says of a source. files: what `source_facts` says of them."""
    source = corpus.sources[name]
    facts: dict[str, Any] = {"origin": source.origin, "extract": source.extract, **files}
    if source.sha256:
        facts["sha256"] = source.sha256
    if source.flags:
        facts["flags"] = list(source.flags)
    if source.caveats:
        facts["caveats"] = list(source.caveats)
    if source.contains:
        facts["contains"] = list(source.contains)
    return SourceRecord(
        licence=source.licence,
        revision=source.pinned,
        date=source.date,
        url=source.url,
        weight=source.weight,
        domain=source.domain,
        language=source.language,
        **facts,
    )
