"""Exact duplicates: of documents with the same text one stays, a held-out one before all, else the earliest.

So a text that is held out is in no training. Three stages: keys (a shelf of hashes a group), match (a bucket of hashes
of all groups), join (a byte a document).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from clapas.recipe.errors import UserError
from clapas_data.arrow import as_numpy
from clapas_data.chunks import SCORE, find_chunk, hashes_of, sizes_of
from clapas_data.codes import DUPLICATE, HELD_OUT, TRAIN
from clapas_data.deduplicate.arrays import Arrays, buckets, key_shelf, write_arrays
from clapas_data.deduplicate.plan import Place, Plan
from clapas_data.deduplicate.stage import BucketStage, GroupStage, JoinStage, gather_bucket, write_tally, write_values
from clapas_data.held_out import held_out

HELD_RANK = np.uint32(1 << 31)
"""The bit of a document's rank that says that it is held out."""


@dataclass(frozen=True)
class ExactKeys(GroupStage):
    """Of each document its text's hash, its size, and its rank among near duplicates."""

    name: ClassVar[str] = "deduplicate.exact.keys"
    file: ClassVar[str] = "exact-keys"

    def run(self, task: int) -> None:
        """Read a group's hashes."""
        plan, parts = self.plan, []
        matched = np.zeros(len(plan.held_out), np.int64)
        for place in plan.groups[task]:
            chunk = find_chunk(place.path)
            assert chunk is not None, place.path
            for batch in chunk.batches():
                held, counts = held_out(plan.held_out, place.source, batch)
                matched += counts
                parts.append((hashes_of(batch), sizes_of(batch), _ranks(plan, batch, held)))
        hashes, sizes, ranks = map(np.concatenate, zip(*parts, strict=True)) if parts else _NOTHING
        keys = key_shelf(
            "exact",
            hashes[:, 0],
            low=hashes[:, 1],
            document=np.arange(len(hashes), dtype=np.uint32),
            held=(ranks & HELD_RANK) != 0,
        )
        write_arrays(plan.path(self.file, task), {"bytes": sizes, "rank": ranks, "matched": matched, **keys})


_NOTHING = (np.zeros((0, 2), np.uint64), np.zeros(0, np.int64), np.zeros(0, np.uint32))


def _ranks(plan: Plan, batch: pa.RecordBatch, held: np.ndarray) -> np.ndarray:
    """Which of some near duplicates stays: that of the highest rank. uint32[documents]."""
    keep = plan.near.keep if plan.near else "first"
    ranks = np.zeros(len(batch), np.uint32)
    if keep == "longest":
        ranks = np.minimum(sizes_of(batch), 2**31 - 1).astype(np.uint32)
    elif keep.startswith(SCORE):
        ranks = _ordered(as_numpy(batch.column(keep), np.float32))
    return ranks | np.where(held, HELD_RANK, np.uint32(0))


def _ordered(scores: np.ndarray) -> np.ndarray:
    """31-bit integers in the order of the scores; what is not a number is the lowest."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0 is 0
    ranks = np.where(bits >> 31, ~bits, bits | HELD_RANK) >> np.uint32(1)
    return np.where(np.isnan(scores), np.uint32(0), ranks)


@dataclass(frozen=True)
class ExactMatch(BucketStage):
    """Which documents have another's text."""

    name: ClassVar[str] = "deduplicate.exact.match"
    file: ClassVar[str] = "exact-match"

    def tasks(self) -> int:
        """By the number of documents."""
        return buckets(self.plan.documents)

    def run(self, task: int) -> None:
        """Compare a bucket's hashes."""
        columns = ("key", "low", "document", "held")
        key, low, document, held = gather_bucket(self.plan, "exact-keys", "exact", task, self.tasks(), *columns)
        order = np.lexsort((document, ~held, low, key))
        key, low, document = key[order], low[order], document[order]
        repeats = np.zeros(len(key), bool)
        repeats[1:] = (key[1:] == key[:-1]) & (low[1:] == low[:-1])
        kept = document[np.maximum.accumulate(np.where(repeats, 0, np.arange(len(key))))][repeats]
        write_arrays(self.plan.path(self.file, task), {"document": document[repeats], "kept": kept})


@dataclass(frozen=True)
class ExactJoin(JoinStage):
    """Codes and ranks of all documents in their order."""

    name: ClassVar[str] = "deduplicate.exact.join"
    file: ClassVar[str] = "exact-tally.json"

    def run(self, task: int) -> None:
        """Raises UserError where `held_out` finds nothing."""
        plan = self.plan
        ranks, codes = np.zeros(plan.documents, np.uint32), np.zeros(plan.documents, np.uint8)
        matched = np.zeros(len(plan.held_out), np.int64)
        for group, (start, stop) in enumerate(zip(plan.starts, plan.starts[1:], strict=False)):
            with Arrays(plan.path("exact-keys", group)) as arrays:
                ranks[start:stop] = own = arrays.read("rank")
                codes[start:stop] = np.where(own & HELD_RANK, HELD_OUT, TRAIN)
                matched += arrays.read("matched")
        for place in np.flatnonzero(matched == 0):
            choice = plan.held_out[place].model_dump(exclude_none=True)
            raise UserError(f"held_out[{place}] of corpus {plan.name} matches no document", found=str(choice))
        for bucket in range(buckets(plan.documents)):
            with Arrays(plan.path("exact-match", bucket)) as arrays:
                codes[arrays.read("document")] = DUPLICATE
        write_values(plan.path("ranks.bin"), ranks)
        write_values(plan.path("codes-exact.bin"), codes)
        write_tally(plan, "exact-tally.json", codes)


def group_codes(plan: Plan, name: str, place: Place) -> np.ndarray:
    """The codes of a chunk's documents after a step."""
    return plan.array(name, np.uint8)[place.first : place.first + place.documents]
