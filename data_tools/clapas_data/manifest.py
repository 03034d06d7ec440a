"""A corpus as built: `manifest.json` says what each shard holds, where it came from, how to know it whole.

Opening one is quick whatever the corpus: sizes and headers of all files are checked, content is not read. Altered
content is found when it is read (blocks.py) or all at once (verify.py). A folder of bare Megatron shards opens too, as
a manifest that says how little is known of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import orjson
import pydantic
from pydantic import ConfigDict, Field, PrivateAttr

from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.typed import Section
from clapas_data.bare_shards import bare_record
from clapas_data.licences import UNKNOWN
from clapas_data.removed import Counts, Holes, Removed, read_mask
from clapas_data.shards import IndexHeader, ShardRecord
from clapas_data.step_record import StepRecord
from clapas_data.whole_files import check_index, check_size

MANIFEST = "manifest.json"

TokenDtype = Literal["uint8", "int8", "int16", "int32", "int64", "uint16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry(ShardRecord):
    """A shard with its place in the corpus.

    text_bytes: UTF-8 bytes of its documents' text, without EOS (what bits per byte divides by); None where unknown.
    targets: a shard of as many uint8 "tokens", which says what is learned: see `examples.py`; None: everything.
    """

    split: str
    source: str
    text_bytes: int | None
    targets: ShardRecord | None = None

    @classmethod
    def of(cls, record: ShardRecord, *, folder: str, split: str, source: str, text_bytes: int | None) -> ShardEntry:
        """A written shard as the manifest keeps it. folder: where it lies within the manifest's, such as `train`."""
        known = {field.name: getattr(record, field.name) for field in fields(ShardRecord)}
        known["path"] = f"{folder}/{record.path}" if folder else record.path
        return cls(**known, split=split, source=source, text_bytes=text_bytes)


class TokenizerRecord(Section):
    """The tokenizer that made the tokens. hash: SHA-256 of its `tokenizer.json`."""

    hash: str
    vocab_size: int
    eos: int
    bos: int | None = None
    pad: int | None = None
    uses_bos: bool = False

    def makes_tokens_of(self, other: TokenizerRecord) -> bool:
        """Whether both make the same tokens of a text, with EOS and BOS; padding and a BOS never written count not."""
        bos = self.bos if self.uses_bos else None
        others = other.bos if other.uses_bos else None
        return (self.hash, self.eos, bos) == (other.hash, other.eos, others)

    def describe(self) -> str:
        """What tells it from another, for a message."""
        bos = f"BOS {self.bos} before each document" if self.uses_bos else "no BOS"
        return f"SHA-256 {self.hash[:16]}…, {self.vocab_size} ids, EOS {self.eos}, {bos}"


class SourceRecord(Section):
    """Where a source's text comes from; further facts of a source may stand beside these."""

    model_config = ConfigDict(extra="allow", frozen=True)

    licence: str
    revision: str | None = None
    date: str | None = None
    url: str | None = None
    weight: float | None = None
    domain: str | None = None
    language: str | None = None


class ExamplesRecord(Section):
    """What the documents of a folder of examples are: see `examples.py`.

    kind: what they teach. documents_per_example: in a row, 2 for pairs: the preferred one, then the other.
    template: SHA-256 of the chat template that made them. counts: what was read, left out and why.
    """

    kind: Literal["conversations", "pairs", "labelled", "prompts"]
    documents_per_example: Literal[1, 2] = 1
    template: str | None = None
    counts: dict[str, int] = Field(default_factory=dict)


class FileRecord(Section):
    """Any other file of the folder, such as `documents.parquet` or `tokenizer/tokenizer.json`."""

    bytes: int
    sha256: str


class Manifest(Section):
    """What a folder of token shards holds.

    version: of this format. dtype: of the tokens. shards: in reading order. files: path -> size and hash of the rest.
    removed: the documents that the shards hold and nobody may read, see `removed.py`; None for a corpus as built.
    examples: for folders of examples to fine-tune on; None for running text.
    """

    version: Literal[1] = 1
    name: str
    tokenizer: TokenizerRecord | None
    dtype: TokenDtype
    sources: dict[str, SourceRecord]
    steps: tuple[StepRecord, ...] = ()
    files: dict[str, FileRecord] = Field(default_factory=dict)
    shards: tuple[ShardEntry, ...]
    removed: Removed | None = None
    examples: ExamplesRecord | None = None

    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """Where it was opened or written."""
        if self._folder is None:
            raise ValueError(f"manifest {self.name} was neither opened nor written")
        return self._folder

    def placed(self, folder: Path) -> Manifest:
        """This manifest, as opened in a folder: for one that another process has opened there."""
        self._folder = folder
        return self

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, of what training reads: tokens, their order, splits and sources; no time, no path.

        Bare shards have no checksums: their names and counts stand in.
        """
        shards = [
            [s.split, s.source, s.documents, s.tokens, s.bin_sha256 or s.path, s.idx_sha256 or s.idx_bytes]
            for s in self.shards
        ]
        tokenizer = None if self.tokenizer is None else self.tokenizer.hash
        content = ["clapas-manifest-1", self.dtype, tokenizer, shards]
        if self.examples is not None:
            targets = [None if shard.targets is None else shard.targets.bin_sha256 for shard in self.shards]
            content.append([self.examples.kind, self.examples.documents_per_example, targets])
        if self.removed is not None:
            content.append(self.removed.hash)
        return hashlib.sha256(orjson.dumps(content)).hexdigest()

    @property
    def revision(self) -> int:
        """1 as built; each removal of documents adds one."""
        return 1 if self.removed is None else self.removed.revision

    @cached_property
    def holes(self) -> dict[str, Holes]:
        """Shard -> the tokens of it that nobody may read. Raises UserError where the mask was altered."""
        if self.removed is None:
            return {}
        return read_mask(self.folder, self.removed, self.files[self.removed.file].sha256)

    def left(self, place: int) -> Counts:
        """What is left of a shard; of unknown bytes none."""
        shard = self.shards[place]
        gone = Counts() if self.removed is None else self.removed.shards.get(shard.path, Counts())
        return Counts(
            documents=shard.documents - gone.documents,
            tokens=shard.tokens - gone.tokens,
            bytes=(shard.text_bytes or 0) - gone.bytes,
        )

    @property
    def splits(self) -> list[str]:
        """The splits' names, in reading order."""
        return list(dict.fromkeys(shard.split for shard in self.shards))

    def of_split(self, split: str) -> list[int]:
        """The places in `shards` of one split's. Raises UserError where there is no such split."""
        found = [place for place, shard in enumerate(self.shards) if shard.split == split]
        if not found:
            raise UserError(f"no split {split!r}", where=self._folder, found=", ".join(self.splits) or "no shards")
        return found

    def tokens(self, split: str) -> int:
        """Tokens of a split that may be read, EOS included."""
        return sum(self.left(place).tokens for place in self.of_split(split))

    def text_bytes(self, split: str) -> int | None:
        """UTF-8 bytes of a split's text that may be read, EOS excluded; None where any shard does not know."""
        places = self.of_split(split)
        if any(self.shards[place].text_bytes is None for place in places):
            return None
        return sum(self.left(place).bytes for place in places)

    def mixture(self, split: str) -> dict[str, float] | None:
        """Source -> weight of a split's, as the corpus file weighs them; None where it does not."""
        names = dict.fromkeys(self.shards[place].source for place in self.of_split(split))
        weights = {name: weight for name in names if (weight := self.sources[name].weight) is not None}
        return weights if len(weights) == len(names) else None

    def write(self, folder: Path) -> None:
        """Write `manifest.json`, whole or not at all. This commits a build: write it last."""
        values = self.model_dump(mode="json")
        content = {"version": self.version, "hash": self.hash, **values}
        atomic_write(folder / MANIFEST, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
        self._folder = folder


def open_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, after checking the size and header of every file.

    A folder without one but with `.idx` files opens as bare Megatron shards. Raises UserError where there is
    neither, where a file is missing or cut short, or where the folder is of a corpus from which documents were removed.
    """
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        check_files(manifest)
        return manifest
    if folder.is_dir() and (indexes := sorted(folder.rglob("*.idx"))):
        _refuse_part_of_masked(folder)
        return _bare_manifest(folder, indexes)
    what = "no corpus here: no manifest.json and no .idx files" if folder.is_dir() else "no such corpus folder"
    raise UserError(
        what,
        where=folder,
        found="a file" if folder.is_file() else None,
        way_out="build one: `clapas data build CORPUS.yaml --out FOLDER`; of conversations, pairs or prompts: "
        "`clapas data chat FILES --out FOLDER --tokenizer TOKENIZER`",
    )


def _refuse_part_of_masked(folder: Path) -> None:
    if whole := masked_corpus(folder):
        raise UserError(
            "a part of a corpus from which documents were removed: without its manifest they would be read",
            where=folder,
            found=f"{whole.folder / MANIFEST}, revision {whole.revision}",
            way_out=f"read the whole: {whole.folder}",
        )


def masked_corpus(folder: Path) -> Manifest | None:
    """The corpus that a folder is, or is a part of, if documents were removed from it: such shards are not bare.

    Raises UserError where it is one, but its manifest is not sound. Others' files of that name are passed over.
    """
    place = folder.resolve()
    for above in (place, *place.parents):
        try:
            values = orjson.loads((above / MANIFEST).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            continue
        if isinstance(values, dict) and values.get("shards") and values.get("removed"):
            return read_manifest(above)
    return None


def revision_name(revision: int) -> str:
    """What a manifest that is no longer the newest is called."""
    return f"manifest-{revision:04}.json"


def read_revisions(manifest: Manifest) -> Iterator[Manifest]:
    """The manifest, then those before it, newest first: as removals of documents left them behind."""
    yield manifest
    for revision in range(manifest.revision - 1, 0, -1):
        yield read_manifest(manifest.folder, revision_name(revision))


def read_manifest(folder: Path, name: str = MANIFEST) -> Manifest:
    """The manifest of a folder, its files unchecked. Raises UserError where it is not a sound manifest."""
    path = folder / name
    try:
        values = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError("no such manifest", where=path, way_out="bring it back, or build the corpus again") from None
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}", where=path, way_out="build the corpus again") from None
    recorded = values.pop("hash", None) if isinstance(values, dict) else None
    try:
        manifest = Manifest.model_validate(values)
    except pydantic.ValidationError as error:
        raise _explain(error, path) from None
    _check_consistency(manifest, path, recorded)
    manifest._folder = folder
    return manifest


def check_files(manifest: Manifest) -> None:
    """Check the sizes of all files and the headers of all indexes. Raises UserError for the first that is wrong."""
    folder = str(manifest.folder)
    for shard in manifest.shards:
        prefix = f"{folder}/{shard.path}"
        check_size(f"{prefix}.bin", shard.bin_bytes)
        check_size(f"{prefix}.crc", shard.crc_bytes)
        header = IndexHeader(manifest.dtype, shard.sequences, shard.documents)
        check_index(f"{prefix}.idx", shard.idx_bytes, header)
        if (targets := shard.targets) is not None:
            check_size(f"{folder}/{targets.path}.bin", targets.bin_bytes)
            check_size(f"{folder}/{targets.path}.crc", targets.crc_bytes)
            check_index(f"{folder}/{targets.path}.idx", targets.idx_bytes, replace(header, dtype="uint8"))
    for path, file in manifest.files.items():
        if not path.startswith("tokenizer/"):  # another one there is not "cut short": training compares its hash
            check_size(f"{folder}/{path}", file.bytes)


def _check_consistency(manifest: Manifest, path: Path, recorded: str | None) -> None:
    for shard in manifest.shards:
        if shard.source not in manifest.sources:
            raise UserError(f"shard {shard.path}: source {shard.source!r} is not described", where=path)
        if shard.path.startswith("/") or ".." in Path(shard.path).parts:
            raise UserError("a shard outside the folder", where=path, found=shard.path)
    if manifest.removed is not None and manifest.removed.file not in manifest.files:
        raise UserError("the mask of its removed documents is not listed", where=path, found=manifest.removed.file)
    if recorded is not None and recorded != manifest.hash:
        raise UserError(
            "its shards are not those it was sealed with", where=path, found=manifest.hash, wanted=recorded,
            way_out="take the manifest that the build wrote, or build the corpus again",
        )  # fmt: skip


def _explain(error: pydantic.ValidationError, path: Path) -> UserError:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return UserError(f"not a manifest: {place}: {first['msg']}", where=path, way_out="build the corpus again")


def _bare_manifest(folder: Path, indexes: list[Path]) -> Manifest:
    """Bare Megatron shards: each is a source of its own; a folder within is a split of its name, else `train`."""
    shards: list[ShardEntry] = []
    dtypes: dict[str, Path] = {}
    for index in indexes:
        dtype, record = bare_record(folder, index)
        dtypes.setdefault(dtype, index)
        split, slash, _ = record.path.partition("/")
        shards.append(
            ShardEntry.of(record, folder="", split=split if slash else "train", source=index.stem, text_bytes=None)
        )
    if len(dtypes) > 1:
        found = ", ".join(f"{dtype} in {path.name}" for dtype, path in dtypes.items())
        raise UserError("shards of several token types", where=folder, found=found, wanted="one type")
    values: dict[str, Any] = {
        "name": folder.resolve().name,
        "tokenizer": None,
        "dtype": next(iter(dtypes)),
        "sources": {shard.source: SourceRecord(licence=UNKNOWN) for shard in shards},
        "shards": tuple(shards),
    }
    manifest = Manifest(**values)
    manifest._folder = folder
    return manifest
