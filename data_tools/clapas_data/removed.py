"""Documents that were removed from a corpus after it was built: named in a mask, their shards as they were.

`clapas data remove` writes the mask, a file `removed-NNNN.parquet`, and a new `manifest.json` that names it. What reads
tokens leaves the masked ones out. Shards, and so the places of all other documents, do not change.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clapas.recipe.errors import UserError
from clapas.recipe.typed import Section

if TYPE_CHECKING:
    import pyarrow as pa

MASK_COLUMNS = ("shard", "document", "offset", "tokens", "bytes", "split", "source", "id", "revision")
"""Of the mask's file; the first six as in documents.parquet. revision: the manifest's that first lacks the document."""


class Counts(Section):
    """Documents, their tokens (EOS included) and the UTF-8 bytes of their text."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0


class Removal(Counts):
    """One call of `data remove` with what it took. revision: of the manifest that it wrote. date: UTC, ISO 8601."""

    revision: int
    date: str
    reason: str | None = None


class Removed(Section):
    """What a manifest leaves out.

    revision: of this manifest; 1 was the build's own, which is kept as `manifest-0001.json`, and so on.
    file: the mask. hash: SHA-256 of what it says, see `mask_hash`. removals: in order. shards: by path, if concerned.
    """

    revision: int
    file: str
    hash: str
    removals: tuple[Removal, ...]
    shards: dict[str, Counts]


@dataclass(frozen=True, slots=True)
class Holes:
    """The removed parts `[starts[i], stops[i])` of one shard, in order, apart from one another."""

    starts: array[int]
    stops: array[int]

    def rest(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The parts of `[start, stop)` that are left. O(log n) and what is cut."""
        place = bisect_right(self.stops, start)
        while start < stop:
            first = self.starts[place] if place < len(self.starts) else stop
            if start < first:
                yield start, min(first, stop)
            if first >= stop:
                return
            start, place = self.stops[place], place + 1


def read_mask(folder: Path, removed: Removed, sha256: str) -> dict[str, Holes]:
    """Shard -> what is removed of it. sha256: the file's, by the manifest. Raises UserError where it was altered."""
    table = mask_table(folder, removed, sha256)
    shards, offsets, tokens = (table[name] for name in ("shard", "offset", "tokens"))
    names, starts = shards.to_pylist(), offsets.to_numpy()
    return holes_of(names, starts, starts + tokens.to_numpy())


def mask_table(folder: Path, removed: Removed, sha256: str) -> pa.Table:
    """The mask's rows, by the places of their shards and offsets. Raises UserError where the file was altered."""
    import pyarrow.parquet as pq

    path = folder / removed.file
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        way_out = "copy it again from where it is sound: without it, removed documents would be read"
        raise UserError("the mask was altered", where=path, found=found, wanted=sha256, way_out=way_out)
    return pq.read_table(path)


def holes_of(shards: list[str], starts: np.ndarray, stops: np.ndarray) -> dict[str, Holes]:
    """Rows, int64, sorted by shard and offset, as holes; neighbours are joined. 16 bytes a hole."""
    found: dict[str, Holes] = {}
    for shard, rows in groupby(range(len(shards)), key=shards.__getitem__):
        places = list(rows)
        begin, end = starts[places[0] : places[-1] + 1], stops[places[0] : places[-1] + 1]
        apart = begin[1:] != end[:-1]
        first, last = np.append(True, apart), np.append(apart, True)
        found[shard] = Holes(array("q", begin[first].tobytes()), array("q", end[last].tobytes()))
    return found


def mask_hash(shards: list[str], offsets: list[int], tokens: list[int]) -> str:
    """SHA-256, in hex, of which tokens a mask takes, whatever its file's format: part of the manifest's hash."""
    digest = hashlib.sha256(b"clapas-removed-1\n")
    for row in sorted(zip(shards, offsets, tokens, strict=True)):
        digest.update("\t".join(map(str, row)).encode() + b"\n")
    return digest.hexdigest()
