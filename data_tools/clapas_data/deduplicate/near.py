"""Candidates for near duplicates: documents that share a band of their signatures (locality-sensitive hashing).

Two stages: keys (a shelf of band keys a group of documents that are still in), match (a bucket of keys of all groups).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import orjson

from clapas.recipe.files import atomic_write
from clapas_data.arrow import mask
from clapas_data.chunks import find_chunk, read_batch
from clapas_data.codes import HELD_OUT, TRAIN
from clapas_data.deduplicate.arrays import Arrays, buckets, key_shelf, shelf, write_arrays
from clapas_data.deduplicate.exact import group_codes
from clapas_data.deduplicate.minhash import band_keys
from clapas_data.deduplicate.plan import Place, Plan
from clapas_data.deduplicate.stage import BucketStage, GroupStage, gather_bucket

NEIGHBOURS = 32
"""Of documents with the same key, each is paired with so many that follow in rank: all of up to 33."""
LEADERS = 8
"""And with so many of the highest rank: of a thousand copies nearly all are verified against the one that stays."""
PIECE_PAIRS = 2**22
"""Pairs of a piece of a bucket, about: 200 MB while they are sorted."""


@dataclass(frozen=True)
class NearKeys(GroupStage):
    """Band keys of the documents that are not exact duplicates."""

    name: ClassVar[str] = "deduplicate.near.keys"
    file: ClassVar[str] = "near-keys"

    def run(self, task: int) -> None:
        """Read a group's texts."""
        plan = self.plan
        assert plan.near is not None
        keys = [np.zeros((0, plan.near.bands), np.uint64)]
        documents = [np.zeros(0, np.uint32)]
        for place in plan.groups[task]:
            for rows, texts in texts_of(place, group_codes(plan, "codes-exact.bin", place)):
                full, own = band_keys(texts, plan.near, place.source)
                keys.append(own)
                documents.append((rows[full] + place.first - plan.starts[task]).astype(np.uint32))
        document = np.repeat(np.concatenate(documents), plan.near.bands)
        write_arrays(plan.path(self.file, task), key_shelf("near", np.concatenate(keys).reshape(-1), document=document))


def texts_of(place: Place, codes: np.ndarray, *wanted: int) -> Iterator[tuple[np.ndarray, list[str]]]:
    """A chunk's documents of some codes (by default, those of either split), a record batch at a time: their rows in
    the chunk, and their texts."""
    chosen = np.isin(codes, wanted or (TRAIN, HELD_OUT))
    yield from chosen_texts(place, chosen)


def chosen_texts(place: Place, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, list[str]]]:
    """A chunk's documents of a choice, bool[documents], a record batch at a time: their rows in it, and their texts."""
    chunk = find_chunk(place.path)
    assert chunk is not None, place.path
    first = 0
    for number, batch in enumerate(chunk.batches()):
        own = chosen[first : first + len(batch)]
        if own.any():
            yield (
                np.flatnonzero(own) + first,
                read_batch(place.path, number, "text").column("text").filter(mask(own)).to_pylist(),
            )
        first += len(batch)


@dataclass(frozen=True)
class NearMatch(BucketStage):
    """Pairs of documents to verify, the lower number first, in order; written in pieces of bounded size."""

    name: ClassVar[str] = "deduplicate.near.match"
    file: ClassVar[str] = "near-match"

    def tasks(self) -> int:
        """By the number of keys."""
        plan = self.plan
        assert plan.near is not None
        return buckets(plan.documents * plan.near.bands)

    def done(self, task: int) -> bool:
        """Whether the count of its pieces is there."""
        return self.plan.path(f"near-match-{task:06}.json").exists()

    def run(self, task: int) -> None:
        """Pair the documents of a bucket."""
        plan, pieces = self.plan, 0
        ranks = plan.array("ranks.bin", np.uint32)
        key, document = gather_bucket(plan, "near-keys", "near", task, self.tasks(), "key", "document")
        for low, high in _paired(*_in_groups(key, document, ranks)):
            write_arrays(plan.path(f"near-match-{task:06}", pieces), _shelves(plan, low, high))
            pieces += 1
        atomic_write(plan.path(f"near-match-{task:06}.json"), orjson.dumps(pieces))


def _in_groups(key: np.ndarray, document: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The documents that share a key, key after key, the highest rank first, and where each key's begin and end."""
    order = np.argsort(key)
    key = key[order]
    again = np.concatenate([[False], key[1:] == key[:-1], [False]])
    shared = again[1:] | again[:-1]
    document, fresh = document[order[shared]], ~again[:-1][shared]
    group = np.cumsum(fresh)
    document = document[np.lexsort((document, ~ranks[document], group))]
    return document, np.append(np.flatnonzero(fresh), len(document))


def _paired(document: np.ndarray, bounds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of each group's documents, the lower number first, in pieces of about PIECE_PAIRS."""
    sizes = np.diff(bounds)
    begins, ends = np.repeat(bounds[:-1], sizes), np.repeat(bounds[1:], sizes)
    places = np.arange(len(document))
    after = np.minimum(ends - places - 1, NEIGHBOURS)
    before = np.clip(places - begins - NEIGHBOURS, 0, LEADERS)
    pairs = np.cumsum(after + before)
    cuts = np.searchsorted(pairs, np.arange(PIECE_PAIRS, pairs[-1] if len(pairs) else 0, PIECE_PAIRS))
    for own in np.split(places, cuts):
        found = [np.zeros((0, 2), np.int64)]
        for step in range(1, int(after[own].max(initial=0)) + 1):
            these = own[after[own] >= step]
            found.append(np.stack([these, these + step], axis=1))
        for leader in range(int(before[own].max(initial=0))):
            these = own[before[own] > leader]
            found.append(np.stack([begins[these] + leader, these], axis=1))
        one, other = document[np.concatenate(found)].T
        if len(one):
            yield unique_pairs(np.minimum(one, other), np.maximum(one, other))


def unique_pairs(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs in order, each once."""
    order = np.lexsort((high, low))
    low, high = low[order], high[order]
    fresh = np.ones(len(low), bool)
    fresh[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return low[fresh], high[fresh]


def _shelves(plan: Plan, low: np.ndarray, high: np.ndarray) -> dict[str, np.ndarray]:
    """A piece's pairs by the group of the lower document, and all documents in them by their group."""
    documents = np.unique(np.concatenate([low, high]))
    return {
        **shelf("pairs", np.searchsorted(low, plan.starts), low=low, high=high),
        **shelf("documents", np.searchsorted(documents, plan.starts), document=documents),
    }


def gather_pieces(plan: Plan, shelf: str, group: int, *columns: str) -> list[np.ndarray]:
    """A group's slices of all pieces of all buckets, end to end, a column each."""
    found: list[list[np.ndarray]] = [[np.zeros(0, np.int64)] for _ in columns]
    for bucket in range(NearMatch(plan.folder).tasks()):
        for piece in range(orjson.loads(plan.path(f"near-match-{bucket:06}.json").read_bytes())):
            with Arrays(plan.path(f"near-match-{bucket:06}", piece)) as arrays:
                for column, values in zip(found, arrays.slices(shelf, group, group + 1, *columns), strict=True):
                    column.append(values)
    return [np.concatenate(column) for column in found]
