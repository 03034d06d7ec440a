"""What a teacher says, stored beside nothing but itself: `clapas distil` writes it, a distillation reads it.

A folder holds `distillation.json`, what was asked of whom on which data, and for each shard of the data:

    NAME.ids             top_k token ids for each of the shard's tokens: what may follow it, the likeliest first
    NAME.log_probabilities   their log-probabilities and that of all others together, fp16
    NAME.json            the lengths and hashes of both; written last

Both are shards in the format of tokens (`clapas_data.shards`), so every block has a checksum that is checked as it is
read. A token takes 4 k + 2 bytes, 6 k + 2 where ids do not fit 16 bits: 258 for k = 64 and 65,536 ids.

What a teacher says depends on what it sees before: the cut of the text into samples. So the data, the sequence length,
the document mask and the packing belong to the folder, and another cut is refused. The mixture, the order, the batch
and the number of ranks do not. Places where nothing is predicted hold zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from clapas.loader.packing import Packed, Packing, Samples
from clapas.loader.plan import DataPlan
from clapas.loader.stream import Span
from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.recipe import Recipe
from clapas.tune.config import Distillation
from clapas.tune.divergence import Told
from clapas_data.manifest import Manifest
from clapas_data.shards import ShardRecord, ShardWriter, TokenShard, new_checked, token_dtype

FACTS = "distillation.json"
OPEN_SHARDS = 64
"""Two files each, as many as are open at a time."""
IDS, LOG_PROBABILITIES = ".ids", ".log_probabilities"


class Facts(BaseModel):
    """What a folder holds. seal: of the teacher's weights. tokenizer: its hash. data: the manifest's hash.

    by_source: whether each source is a stream of its own, as with a mixture; of packed examples False.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    seal: str
    tokenizer: str
    vocab_size: int
    top_k: int
    temperature: float
    data: str
    sequence_length: int
    by_source: bool
    document_mask: bool
    packed: bool
    too_long: str

    @property
    def events(self) -> int:
        """Log-probabilities of a token."""
        return self.top_k + (self.top_k < self.vocab_size)

    @property
    def token_bytes(self) -> int:
        """Bytes that a token takes."""
        return token_dtype(self.vocab_size).itemsize * self.top_k + 2 * self.events


def facts_of(recipe: Recipe, objective: Distillation, seal: str, plan: DataPlan) -> Facts:
    """What the recipe asks for. Raises UserError where its stages cut the text in several ways."""
    packed = plan.packing.is_packed
    cuts = {(stretch.sequence_length, stretch.mixture is not None and not packed) for stretch in plan.stretches}
    if len(cuts) > 1:
        found = ", ".join(f"{length} {'by source' if mixed else 'in one stream'}" for length, mixed in sorted(cuts))
        raise UserError(
            "the stages cut the text in several ways, and what a teacher says depends on it",
            where=recipe.place("stages"),
            found=f"sequences of {found}",
            way_out="ask the teacher live: objective.teacher=its model; or a run for each part (branch)",
        )
    (length, by_source) = cuts.pop()
    tokenizer = plan.manifest.tokenizer
    assert tokenizer is not None, "asked before: see teacher.check_same_tokenizer"
    return Facts(
        seal=seal,
        tokenizer=tokenizer.hash,
        vocab_size=tokenizer.vocab_size,
        top_k=objective.top_k,
        temperature=objective.temperature,
        data=plan.manifest.hash,
        sequence_length=length,
        by_source=by_source,
        document_mask=plan.document_mask,
        packed=packed,
        too_long=plan.packing.too_long if packed else "",
    )


def is_stored(folder: Path) -> bool:
    """Whether a folder is one of `clapas distil`."""
    return (folder / FACTS).is_file()


def read_facts(folder: Path) -> Facts:
    """What a folder holds. Raises UserError where this version cannot read it."""
    try:
        return Facts.model_validate_json((folder / FACTS).read_bytes())
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise UserError("not what `clapas distil` of this version writes", where=folder / FACTS, found=found) from None


def check_facts(folder: Path, found: Facts, wanted: Facts, where: str) -> None:
    """Raise UserError that names in what a folder is not what a recipe asks for."""
    differing = [key for key in Facts.model_fields if getattr(found, key) != getattr(wanted, key)]
    if differing:
        raise UserError(
            "what is stored here is not what the recipe asks for",
            where=where,
            found="; ".join(f"{key}: {getattr(found, key)}" for key in differing) + f" in {folder}",
            wanted="; ".join(f"{key}: {getattr(wanted, key)}" for key in differing),
            way_out="store it for this recipe: `clapas distil RECIPE --out FOLDER`, in another folder",
        )


def places(plan: DataPlan) -> list[int]:
    """The shards that a plan may read, rising."""
    manifest = plan.manifest
    names = {name for stretch in plan.stretches for name in stretch.streams}
    return [place for place in manifest.of_split(plan.split) if "" in names or manifest.shards[place].source in names]


def cells_of(plan: DataPlan, place: int) -> tuple[Samples, Sequence[int]]:
    """(a stream, those of its samples that hold any token of a shard), as text lies: what is read to store a shard.

    Packed examples do not see one another, so each is a sample of its own.
    """
    manifest, length = plan.manifest, plan.stretches[0].sequence_length
    if plan.packing.is_packed:
        alone = Packed(manifest, "", [place], Packing("none", plan.packing.too_long))
        return alone, range(alone.counts(length)["samples"])
    streams = {name: stream for stretch in plan.stretches for name, stream in stretch.streams.items()}
    stream = streams.get("") or streams[manifest.shards[place].source]
    return stream, stream.cells(Span(place, 0, manifest.shards[place].tokens), length)


class StoredShard:
    """What is stored for one shard, being written in the order of its tokens.

    with StoredShard(folder, facts, entry) as shard:
        shard.add(start, ids, log_probabilities)
    shard.seal()
    """

    def __init__(self, folder: Path, facts: Facts, path: str, tokens: int) -> None:
        self._folder, self._facts, self._path, self._tokens = folder, facts, path, tokens
        self._at = 0
        prefix = folder / path
        self._writers = (
            ShardWriter(prefix.with_name(prefix.name + IDS), token_dtype(facts.vocab_size)),
            ShardWriter(prefix.with_name(prefix.name + LOG_PROBABILITIES), np.dtype("u2")),
        )

    def add(self, start: int, ids: np.ndarray, log_probabilities: np.ndarray) -> None:
        """Of tokens from `start` on, which is not before the last one's. ids: (n, k); log_probabilities: fp16."""
        self._fill(start)
        for writer, rows in zip(self._writers, (ids, log_probabilities.view(np.uint16)), strict=True):
            if len(rows):
                writer.add(rows.reshape(-1))
        self._at += len(ids)

    def seal(self) -> None:
        """Finish both files, then say that they are whole."""
        self._fill(self._tokens)
        records = [asdict(writer.close()) for writer in self._writers]
        atomic_write(self._folder / f"{self._path}.json", orjson.dumps(records, option=orjson.OPT_INDENT_2) + b"\n")

    def _fill(self, until: int) -> None:
        """Zeros for tokens after which nothing was predicted."""
        while self._at < until:
            count = min(until - self._at, self._facts.sequence_length)
            for writer, width in zip(self._writers, (self._facts.top_k, self._facts.events), strict=True):
                writer.add(np.zeros(count * width, writer.dtype))
            self._at += count

    def __enter__(self) -> StoredShard:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for writer in self._writers:
                writer.abandon()


def is_sealed(folder: Path, path: str) -> bool:
    """Whether what belongs to a shard was stored whole."""
    return (folder / f"{path}.json").is_file()


class StoredTeacher:
    """Reads what is stored. Raises UserError where a shard is missing; while reading, where data were altered."""

    def __init__(self, folder: Path, facts: Facts, manifest: Manifest, needed: Sequence[int]) -> None:
        self.folder, self.facts, self._manifest = folder, facts, manifest
        missing = [path for place in needed if not is_sealed(folder, path := manifest.shards[place].path)]
        if missing:
            raise UserError(
                "not all of what the teacher says is stored yet",
                where=folder,
                found=f"{len(missing)} of {len(needed)} shards are missing: {', '.join(missing[:3])}",
                way_out="go on with it: `clapas distil RECIPE --out FOLDER`, as before",
            )
        self._shards = lru_cache(maxsize=OPEN_SHARDS)(self._opened)

    def read(self, spans: Sequence[Span]) -> tuple[np.ndarray, np.ndarray]:
        """What follows each token of some spans: ids, (n, k), and log-probabilities, fp16, (n, k + 1)."""
        ids, log_probabilities = [], []
        for shard, start, stop in spans:
            first, second = self._shards(shard)
            k, events = self.facts.top_k, self.facts.events
            ids.append(first.read(start * k, stop * k).reshape(-1, k))
            log_probabilities.append(second.read(start * events, stop * events).reshape(-1, events))
        none = np.zeros((0, self.facts.top_k), np.int64), np.zeros((0, self.facts.events), np.uint16)
        return np.concatenate([none[0], *ids]), np.concatenate([none[1], *log_probabilities]).view(np.float16)

    def say(self, spans_of_samples: Sequence[Sequence[Span]], is_target_BS: np.ndarray, first: int = 0) -> Told:
        """Of each target of a batch in row-major order, on the CPU.

        is_target_BS: of all positions of the samples, or of those from `first` on that a rank holds.
        """
        ids, log_probabilities = [], []
        for spans, is_target in zip(spans_of_samples, is_target_BS, strict=True):
            chosen = first + np.flatnonzero(is_target)
            own_ids, own_log_probabilities = self.read(spans)
            ids.append(own_ids[chosen].astype(np.int64))
            log_probabilities.append(own_log_probabilities[chosen])
        return Told(torch.from_numpy(np.concatenate(ids)), torch.from_numpy(np.concatenate(log_probabilities)))

    def _opened(self, place: int) -> tuple[TokenShard, TokenShard]:
        path = self._manifest.shards[place].path
        ids, log_probabilities = (
            replace(record, path=f"{Path(path).parent.as_posix()}/{record.path}")
            for record in (
                ShardRecord(**values) for values in orjson.loads((self.folder / f"{path}.json").read_bytes())
            )
        )
        return (
            TokenShard(self.folder, ids, new_checked(ids)),
            TokenShard(self.folder, log_probabilities, new_checked(log_probabilities)),
        )
