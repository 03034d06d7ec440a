"""How documents are cut into samples: as one stream, or as whole examples that share a sample.

`stream` lays all documents end to end and cuts on a fixed grid (`loader.stream`): for pretraining. `best_fit` puts
whole examples into samples, each into the fullest sample that still has room, longest first (best-fit decreasing;
Ding et al., 2024, arXiv:2404.10830), so that none is cut and little is padding; `none` gives each a sample of its own.
All examples of a sample are of one source, so that a sample's loss is that source's. Which these are is a function of
sources and lengths alone: nothing is stored, and any rank finds the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np

from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span, Stream
from clapas.recipe.errors import UserError
from clapas_data.manifest import MANIFEST, Manifest

PACKING_VERSION = 1
"""Part of the hash of a plan that packs: raise it with any change of which examples share a sample."""

PackingKind = Literal["stream", "best_fit", "none"]
TooLong = Literal["drop", "truncate"]


class Samples(Protocol):
    """What a source is cut into. tokens: of all its documents, before any is left out."""

    @property
    def name(self) -> str: ...

    @property
    def tokens(self) -> int: ...

    def samples(self, sequence_length: int, key: str = "data.sequence_length") -> int:
        """Samples of one epoch. Raises UserError, about the recipe's `key`, where there is none."""
        ...

    def sample(self, place: int, sequence_length: int) -> list[Span]:
        """What a sample reads: at most `sequence_length` + 1 tokens."""
        ...

    def cells(self, span: Span, sequence_length: int) -> Sequence[int]:
        """The samples that hold any token of a part of a shard: `sample`'s inverse."""
        ...


@dataclass(frozen=True, slots=True)
class Packing:
    """A recipe's `data.packing` and `data.too_long`."""

    kind: PackingKind = "stream"
    too_long: TooLong = "drop"

    @property
    def is_packed(self) -> bool:
        """Whether samples hold whole examples."""
        return self.kind != "stream"

    @property
    def facts(self) -> dict[str, Any]:
        """What the hash of a plan says of it; of a stream nothing."""
        return {"packing": [self.kind, self.too_long, PACKING_VERSION]} if self.is_packed else {}

    def check(self, manifest: Manifest) -> None:
        """Raise UserError where data and packing do not go together."""
        examples = manifest.examples
        if examples is not None and not self.is_packed:
            raise UserError(
                f"these data are {examples.kind}, not running text",
                where=manifest.folder / MANIFEST,
                found="data.packing: stream, which would cut them anywhere",
                wanted="whole examples",
                way_out="data.packing=best_fit (or none), with the objective that they are for: objective.name=sft",
            )
        if examples is not None and examples.documents_per_example > 1 and self.too_long == "truncate":
            raise UserError(
                "a pair cannot be cut: what is left of its two sides would no longer be comparable",
                where="data.too_long",
                found="truncate",
                wanted="drop",
            )


STREAM = Packing()


def samples_of(manifest: Manifest, name: str, places: Sequence[int], packing: Packing) -> Samples:
    """The samples of some shards. name: of the source, or "" for all sources together."""
    if packing.is_packed:
        return Packed(manifest, name, places, packing)
    return Stream.of(name, places, [manifest.shards[place].tokens for place in places])


class Packed:
    """Whole examples as samples. places: the shards' in the manifest, rising.

    An example is `documents_per_example` documents in a row. Its number counts through the shards.
    """

    def __init__(self, manifest: Manifest, name: str, places: Sequence[int], packing: Packing) -> None:
        self.name, self._packing = name, packing
        per_example = 1 if manifest.examples is None else manifest.examples.documents_per_example
        self._is_learned = manifest.examples is not None and manifest.examples.kind != "prompts"
        self._pool = pool = ShardPool(manifest)
        shards, starts, stops = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
        by_source: dict[str, list[int]] = {}
        for place in places:
            tokens = manifest.shards[place].tokens
            first = pool[place].document_starts(0, tokens)[::per_example]
            shards.append(np.full(len(first), place))
            starts.append(first)
            stops.append(np.append(first[1:], tokens) if len(first) else first)
            by_source.setdefault(manifest.shards[place].source, []).append(place)
        self._shards, self._starts, self._stops = (
            np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (shards, starts, stops)
        )
        self._of_sources = [np.flatnonzero(np.isin(self._shards, own)) for own in by_source.values()]
        self._packs = lru_cache(maxsize=8)(self._packed)

    @property
    def tokens(self) -> int:
        """Tokens of all examples, those too long included."""
        return int((self._stops - self._starts).sum())

    def samples(self, sequence_length: int, key: str = "data.sequence_length") -> int:
        """Samples of one epoch. Raises UserError, about the recipe's `key`, where not even one example fits."""
        count = len(self._packs(sequence_length)[1]) - 1
        if not count:
            owner = f"source {self.name!r}" if self.name else "the split"
            longest = int((self._stops - self._starts).max(initial=0))
            what, way_out = f"no example of {owner} fits", "a longer data.sequence_length"
            if self._packing.too_long == "drop":
                way_out += "; conversations may also be cut: data.too_long=truncate"
            elif len(self._starts):
                what = f"every example of {owner} is cut before anything of it is learned"
            raise UserError(
                what,
                where=key,
                found=f"{sequence_length:,}; {len(self._starts):,} examples, the longest of {longest:,} tokens",
                way_out=way_out,
            )
        return count

    def sample(self, place: int, sequence_length: int) -> list[Span]:
        """The examples of a sample, one span each."""
        order, offsets = self._packs(sequence_length)
        found: list[Span] = []
        for number in order[offsets[place] : offsets[place + 1]].tolist():
            start, stop = int(self._starts[number]), int(self._stops[number])
            found.append(Span(int(self._shards[number]), start, min(stop, start + sequence_length + 1)))
        return found

    def cells(self, span: Span, sequence_length: int) -> list[int]:
        """The samples that hold any token of a part of a shard."""
        order, offsets = self._packs(sequence_length)
        overlaps = (self._shards == span.shard) & (self._starts < span.stop)
        overlaps &= np.minimum(self._stops, self._starts + sequence_length + 1) > span.start
        held = np.flatnonzero(overlaps[order])
        return np.unique(np.searchsorted(offsets, held, "right") - 1).tolist()

    def counts(self, sequence_length: int) -> dict[str, int]:
        """What became of the examples: in all, left out or cut for being too long, and how many tokens are read."""
        lengths = self._stops - self._starts
        order, offsets = self._packs(sequence_length)
        return {
            "examples": len(lengths),
            "dropped": len(lengths) - len(order),
            "truncated": int((lengths[order] > sequence_length + 1).sum()),
            "samples": len(offsets) - 1,
            "tokens": int(np.minimum(lengths, sequence_length + 1)[order].sum()),
        }

    def _packed(self, sequence_length: int) -> tuple[np.ndarray, np.ndarray]:
        """(the examples' numbers, sample by sample; where each sample begins in them, and where the last ends)."""
        room = sequence_length + 1
        lengths = np.minimum(self._stops - self._starts, room)
        is_kept = self._stops - self._starts <= room
        if self._packing.too_long == "truncate":
            is_kept[~is_kept] = [self._teaches(number, room) for number in np.flatnonzero(~is_kept).tolist()]
        if self._packing.kind == "none":
            kept = np.flatnonzero(is_kept)
            return kept, np.arange(len(kept) + 1)
        orders, offsets = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)]
        packed = 0
        for own in self._of_sources:
            order, ends = best_fit(lengths, own[is_kept[own]], room)
            orders.append(order)
            offsets.append(ends[1:] + packed)
            packed += len(order)
        return np.concatenate(orders), np.concatenate(offsets)

    def _teaches(self, number: int, room: int) -> bool:
        """Whether anything is learned of the first `room` tokens of an example, of which the first is no target."""
        learned = self._pool.targets(int(self._shards[number])) if self._is_learned else None
        start = int(self._starts[number])
        return learned is None or bool(learned.read(start + 1, start + room).any())


def best_fit(lengths: np.ndarray, kept: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Best-fit decreasing: as `Packed._packs`, of the examples `kept`, whose lengths are at most `room`.

    Equally full samples are taken last opened first; equally long examples in their order.
    """
    numbers = kept[np.argsort(-lengths[kept], kind="stable")]
    packs: list[list[int]] = []
    with_room: dict[int, list[int]] = {}  # room left -> samples
    rooms = 0  # the bit r is set where a sample with room for r tokens is open
    for number, length in zip(numbers.tolist(), lengths[numbers].tolist(), strict=True):
        fitting = rooms >> length
        if fitting:
            left = length + (fitting & -fitting).bit_length() - 1
            pack = with_room[left].pop()
            if not with_room[left]:
                rooms &= ~(1 << left)
        else:
            left, pack = room, len(packs)
            packs.append([])
        packs[pack].append(number)
        if left > length:
            with_room.setdefault(left - length, []).append(pack)
            rooms |= 1 << (left - length)
    order = np.array([number for pack in packs for number in pack], dtype=np.int64)
    return order, np.cumsum([0, *map(len, packs)])
