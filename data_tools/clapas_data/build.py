"""From a corpus file to token shards: prepared text, encoded, written shard by shard, sealed by the manifest.

A build that was stopped goes on where it was: finished shards are kept, `manifest.json` comes last and means that all
is there. What comes out depends on the corpus and the tokenizer alone, not on the workers or on interruptions.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write, new_folder
from clapas.recipe.hashes import content_hash, file_hash
from clapas_data.arrow import numbers, strings
from clapas_data.chunks import sizes_of
from clapas_data.corpus import Corpus, read_corpus, warn_of_licences
from clapas_data.documents import DOCUMENTS, ROW_GROUP, SCHEMA
from clapas_data.encode import Engine, TokenizerFolder, choose_engine, encode_documents, open_tokenizer
from clapas_data.files import locked, make_folder, new_file, remove_partials
from clapas_data.manifest import (
    MANIFEST,
    FileRecord,
    Manifest,
    ShardEntry,
    SourceRecord,
    StepRecord,
    open_manifest,
)
from clapas_data.prepare import Batch, Prepared, corpus_key, prepare
from clapas_data.progress import progress
from clapas_data.shards import ShardWriter, token_dtype
from clapas_data.sources import source_facts
from clapas_data.workers import Workers

BUILDER = 1
"""Version of what encoding and writing do: raised when they change."""
SHARD_BYTES = 2**30
"""UTF-8 bytes of text after which a shard is closed: about 200 million tokens."""
SAMPLE_BYTES = 200_000
"""UTF-8 bytes of text of each source on which the two encoders' ids are compared."""
SPLITS = ("train", "heldout")
STATE = "build.json"
WORK = ".build"


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A shard to write: the batches of one source and split that go into it, in order."""

    split: str
    source: str
    number: int
    batches: list[Batch]

    @property
    def name(self) -> str:
        """Its files' name, as in `legi-00000`."""
        return f"{self.source}-{self.number:05}"

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of its text."""
        return sum(batch.bytes for batch in self.batches)


def build(
    corpus: str | Path,
    out: Path,
    tokenizer: Path | None = None,
    workers: int | None = None,
    overrides: Sequence[str] = (),
) -> Manifest:
    """Build the folder `out` from a corpus, or finish a build, or find it built.

    overrides: of the corpus file, `sources.web.revision=...`.
    tokenizer: a tokenizer's folder, copied to `out/tokenizer`; the default is the one there. workers: processes, one a
    core by default. Raises UserError for wrong input and where `out` holds another build; OSError for a full disk.
    """
    read = read_corpus(corpus, overrides)
    warn_of_licences(read)
    folder = open_tokenizer(tokenizer or out / "tokenizer")
    key = content_hash([BUILDER, corpus_key(read), folder.record.model_dump()])
    make_folder(out)
    _refuse_foreign(out)
    with locked(out, refuse="a build"):
        if (out / MANIFEST).exists():
            return _built_before(out, key, read)
        with Workers(workers) as pool:
            prepared = prepare(read, pool)
            _begin(out, key, read)
            folder = _install_tokenizer(folder, out / "tokenizer")
            entries, step = _write_shards(prepared, folder, out, pool)
        manifest = _seal(out, prepared, folder, entries, step)
    tokens = sum(shard.tokens for shard in manifest.shards)
    print(f"{out}: {len(manifest.shards)} shards, {tokens:,} tokens", file=sys.stderr)
    return manifest


def _refuse_foreign(out: Path) -> None:
    """Raise UserError where `out` holds `train/` or `heldout/` that no build of ours began."""
    foreign = [name for name in SPLITS if (out / name).exists()]
    if foreign and not (out / STATE).exists():
        found = ", ".join(f"{name}/" for name in foreign)
        raise UserError(
            "holds something else, which a build would replace",
            where=out,
            found=found,
            wanted="a new or empty folder, or one that a build began",
            way_out="choose another --out",
        )


def _built_before(out: Path, key: str, corpus: Corpus) -> Manifest:
    """The manifest that is there; where only what is said of the sources has changed (a licence), it says so now."""
    state = out / STATE
    if not state.exists() or orjson.loads(state.read_bytes())["key"] != key:
        raise UserError(
            "holds a build of another corpus, tokenizer or version of the data",
            where=out,
            way_out="choose another --out; where only times or places of local files changed, that build's data "
            "are the same, and runs go on with them",
        )
    manifest = open_manifest(out)
    facts = {"name": corpus.name, "sources": {name: _source_record(corpus, name) for name in corpus.sources}}
    if all(getattr(manifest, name) == value for name, value in facts.items()):
        print(f"{out}: built already, nothing to do", file=sys.stderr)
        return manifest
    manifest = manifest.model_copy(update=facts)
    manifest.write(out)
    _write_state(out, key, corpus)
    print(f"{out}: built already; what its manifest says of the sources is brought up to date", file=sys.stderr)
    return manifest


def _write_state(out: Path, key: str, corpus: Corpus) -> None:
    content = {"key": key, "corpus": corpus.model_dump(mode="json", exclude_none=True)}
    atomic_write(out / STATE, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")


def _begin(out: Path, key: str, corpus: Corpus) -> None:
    """Clear what a build of something else left unfinished, and say what this one builds."""
    state = out / STATE
    if not state.exists() or orjson.loads(state.read_bytes())["key"] != key:
        for name in (*SPLITS, WORK):
            if (out / name).exists():
                print(f"{out / name}: left by an unfinished build of something else, removed", file=sys.stderr)
                shutil.rmtree(out / name)
        _write_state(out, key, corpus)
    (out / WORK).mkdir(exist_ok=True)
    for folder in (out, *(out / name for name in (*SPLITS, WORK))):
        remove_partials(folder)


def _install_tokenizer(folder: TokenizerFolder, path: Path) -> TokenizerFolder:
    """The tokenizer as it lies in the build's own folder, copied there where it came from elsewhere."""
    if folder.path.resolve() == path.resolve():
        return folder
    if path.exists():
        if open_tokenizer(path).record == folder.record:
            return TokenizerFolder(path, folder.record)
        raise UserError("holds another tokenizer than --tokenizer", where=path, way_out="choose another --out")
    with new_folder(path) as copy:
        for file in folder.path.iterdir():
            if file.is_file():
                shutil.copyfile(file, copy / file.name)
    return TokenizerFolder(path, folder.record)


def _write_shards(
    prepared: Prepared, folder: TokenizerFolder, out: Path, pool: Workers
) -> tuple[list[ShardEntry], StepRecord]:
    """Write the shards that are not there yet. Returns all of them, and encoding as a step."""
    plans = _plan(prepared)
    missing = [plan for plan in plans if not _record_path(out, plan).exists()]
    began = time.monotonic()
    if missing:
        engine = choose_engine(folder.path, _sample(missing))
        dtype = token_dtype(folder.record.vocab_size)
        tasks = [_Task(batch, folder, engine, dtype) for plan in missing for batch in plan.batches]
        with progress("encode", sum(plan.bytes for plan in missing), "MB") as advance:
            encoded = pool.map(_encode, tasks)
            for plan in missing:
                _write_shard(plan, encoded, dtype, out, advance)
    entries = [ShardEntry(**orjson.loads(_record_path(out, plan).read_bytes())) for plan in plans]
    documents, size = sum(entry.documents for entry in entries), sum(plan.bytes for plan in plans)
    step = StepRecord(
        name="tokenize",
        documents_in=documents,
        documents_out=documents,
        bytes_in=size,
        bytes_out=size,
        seconds=round(time.monotonic() - began, 3),
    )
    return entries, step


def _plan(prepared: Prepared) -> list[ShardPlan]:
    """Which batches make which shard: decided by the text alone."""
    plans: list[ShardPlan] = []
    for split in SPLITS:
        for source, batches in prepared.batches(split).items():
            group: list[Batch] = []
            number = size = 0
            for batch in batches:
                group.append(batch)
                size += batch.bytes
                if size >= SHARD_BYTES:
                    plans.append(ShardPlan(split, source, number, group))
                    group, size, number = [], 0, number + 1
            if group:
                plans.append(ShardPlan(split, source, number, group))
    return plans


def _sample(plans: list[ShardPlan]) -> list[str]:
    """Some text of each source and split."""
    texts: list[str] = []
    for plan in {(plan.split, plan.source): plan for plan in reversed(plans)}.values():
        size = 0
        for text in plan.batches[0].read("text").column("text").to_pylist():
            if size < SAMPLE_BYTES:
                texts.append(text[:SAMPLE_BYTES])
                size += len(text)
    return texts


@dataclass(frozen=True, slots=True)
class _Task:
    """A batch to encode, and how."""

    batch: Batch
    folder: TokenizerFolder
    engine: Engine
    dtype: np.dtype


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A batch as tokens. rows: id and bytes of its documents."""

    tokens: np.ndarray
    lengths: np.ndarray
    rows: pa.RecordBatch


def _encode(task: _Task) -> _Encoded:
    rows = task.batch.read("id", "text", "bytes")
    tokens, lengths = encode_documents(rows.column("text").to_pylist(), task.folder, task.engine, task.dtype)
    return _Encoded(tokens, lengths, rows.select(["id", "bytes"]))


def _write_shard(
    plan: ShardPlan, encoded: Iterator[_Encoded], dtype: np.dtype, out: Path, advance: Callable[[int], None]
) -> None:
    """Write one shard, its rows of the documents table, and last its record, which says that all of it is there."""
    path = f"{plan.split}/{plan.name}"
    first = offset = 0
    table = out / WORK / f"{plan.split}-{plan.name}.parquet"
    with (
        ShardWriter(out / plan.split / plan.name, dtype) as writer,
        new_file(table) as partial,
        pq.ParquetWriter(partial, SCHEMA) as rows,
    ):
        for batch in plan.batches:
            done = next(encoded)
            writer.add_many(done.tokens, done.lengths)
            rows.write_batch(_document_rows(done, plan, path, first, offset))
            first += len(done.lengths)
            offset += len(done.tokens)
            advance(batch.bytes)
    record = writer.close()
    entry = ShardEntry.of(record, folder=plan.split, split=plan.split, source=plan.source, text_bytes=plan.bytes)
    atomic_write(_record_path(out, plan), orjson.dumps(asdict(entry)))


def _record_path(out: Path, plan: ShardPlan) -> Path:
    return out / WORK / f"{plan.split}-{plan.name}.json"


def _document_rows(done: _Encoded, plan: ShardPlan, path: str, first: int, offset: int) -> pa.RecordBatch:
    count = len(done.lengths)
    columns: dict[str, Any] = {
        "document": numbers(np.arange(first, first + count)),
        "split": strings([plan.split.encode()] * count),
        "source": strings([plan.source.encode()] * count),
        "id": done.rows.column("id"),
        "shard": strings([path.encode()] * count),
        "offset": numbers(offset + np.cumsum(done.lengths) - done.lengths),
        "tokens": numbers(done.lengths),
        "bytes": numbers(sizes_of(done.rows)),
    }
    return pa.record_batch([columns[field.name].cast(field.type) for field in SCHEMA], schema=SCHEMA)


def _seal(
    out: Path, prepared: Prepared, folder: TokenizerFolder, entries: list[ShardEntry], step: StepRecord
) -> Manifest:
    """Join the documents table, write the manifest, and remove the work folder."""
    with new_file(out / DOCUMENTS) as partial, pq.ParquetWriter(partial, SCHEMA) as table:
        for entry in entries:
            table.write_table(pq.read_table(out / WORK / f"{entry.path.replace('/', '-', 1)}.parquet"), ROW_GROUP)
    corpus = prepared.corpus
    files = [out / DOCUMENTS, *sorted(path for path in folder.path.iterdir() if path.is_file())]
    manifest = Manifest(
        name=corpus.name,
        tokenizer=folder.record,
        dtype=token_dtype(folder.record.vocab_size).name,  # pyright: ignore[reportArgumentType] - a name of its type
        sources={name: _source_record(corpus, name) for name in corpus.sources},
        steps=(*prepared.steps, step),
        files={
            path.relative_to(out).as_posix(): FileRecord(bytes=path.stat().st_size, sha256=file_hash(path))
            for path in files
        },
        shards=tuple(entries),
    )
    manifest.write(out)
    shutil.rmtree(out / WORK)
    return manifest


def _source_record(corpus: Corpus, name: str) -> SourceRecord:
    source = corpus.sources[name]
    facts: dict[str, Any] = {"origin": source.origin, "extract": source.extract, **source_facts(name, source)}
    if source.sha256:
        facts["sha256"] = source.sha256
    if source.flags:
        facts["flags"] = list(source.flags)
    if source.caveats:
        facts["caveats"] = list(source.caveats)
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
