"""Lines that many documents repeat: each stays in the first few of them, and is taken out of the others when read.

Stages: keys (hashes of the long lines of a group's training documents), match (a bucket of hashes), join (one table of
repeated lines), measure (what is left of each document), and codes. Held-out documents keep their lines, and their
lines do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.lib.format import open_memmap

from clapas_data.clean import clean
from clapas_data.codes import EMPTIED, TRAIN
from clapas_data.deduplicate.arrays import Arrays, buckets, key_shelf, write_arrays
from clapas_data.deduplicate.exact import group_codes
from clapas_data.deduplicate.near import texts_of
from clapas_data.deduplicate.plan import FOLDER, Plan
from clapas_data.deduplicate.stage import BucketStage, GroupStage, JoinStage, gather_bucket, write_tally, write_values
from clapas_data.files import new_file
from clapas_data.text.batch import TextBatch
from clapas_data.text.edit import without

TABLE = "repeated-lines.npy"
ROW = np.dtype([("hash", np.uint64), ("last", np.int64)])
"""A repeated line; last: the last document that keeps it."""


def codes_before(plan: Plan) -> str:
    """The file of codes that lines begin with."""
    return "codes-near.bin" if plan.near else "codes-exact.bin"


@dataclass(frozen=True)
class LineKeys(GroupStage):
    """Each long line of a group, with the first documents that have it: one more than may keep it."""

    name: ClassVar[str] = "deduplicate.lines.keys"
    file: ClassVar[str] = "line-keys"

    def run(self, task: int) -> None:
        """Read a group's training texts."""
        plan = self.plan
        assert plan.lines is not None
        keys, documents = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)]
        for place in plan.groups[task]:
            for rows, texts in texts_of(place, group_codes(plan, codes_before(plan), place), TRAIN):
                lines = TextBatch(texts, ids=[""] * len(texts)).lines
                long = lines.lengths >= plan.lines.characters
                owner = (rows + place.first - plan.starts[task])[lines.owners[long]]
                keys.append(lines.hashes[long])
                documents.append(owner.astype(np.uint32))
        key, document = _first_of_each(np.concatenate(keys), np.concatenate(documents), plan.lines.most + 1)
        write_arrays(plan.path(self.file, task), key_shelf("lines", key, document=document))


def _first_of_each(key: np.ndarray, document: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each key the first `most` documents, each once: in the order of keys, then documents."""
    order = np.lexsort((document, key))
    key, document = key[order], document[order]
    fresh = np.ones(len(key), bool)
    fresh[1:] = (key[1:] != key[:-1]) | (document[1:] != document[:-1])
    key, document = key[fresh], document[fresh]
    early = np.ones(len(key), bool)
    early[most:] = key[most:] != key[:-most]
    return key[early], document[early]


@dataclass(frozen=True)
class LineMatch(BucketStage):
    """The lines of a bucket that more documents have than may keep them."""

    name: ClassVar[str] = "deduplicate.lines.match"
    file: ClassVar[str] = "line-match"

    def tasks(self) -> int:
        """By the bytes of text, as if each document were of lines twice as long as the shortest looked at."""
        plan = self.plan
        assert plan.lines is not None
        return buckets(sum(place.bytes for place in plan.chunks) // (2 * plan.lines.characters))

    def run(self, task: int) -> None:
        """Compare a bucket's hashes."""
        plan = self.plan
        assert plan.lines is not None
        most = plan.lines.most
        key, document = gather_bucket(plan, "line-keys", "lines", task, self.tasks(), "key", "document")
        key, document = _first_of_each(key, document, most + 1)
        more = np.flatnonzero(key[most:] == key[: len(key) - most])
        write_arrays(plan.path(self.file, task), {"hash": key[more], "last": document[more + most - 1]})


@dataclass(frozen=True)
class LineJoin(JoinStage):
    """One table of repeated lines, in the order of their hashes."""

    name: ClassVar[str] = "deduplicate.lines.join"
    file: ClassVar[str] = TABLE

    def run(self, task: int) -> None:
        """Buckets are ranges of hashes: lay them end to end."""
        plan = self.plan
        found = [plan.path("line-match", bucket) for bucket in range(LineMatch(self.folder).tasks())]
        sizes = [_length(path) for path in found]
        with new_file(plan.path(TABLE)) as partial:
            table = open_memmap(partial, "w+", ROW, (sum(sizes),))
            for path, stop, size in zip(found, np.cumsum(sizes), sizes, strict=True):
                with Arrays(path) as arrays:
                    table["hash"][stop - size : stop] = arrays.read("hash")
                    table["last"][stop - size : stop] = arrays.read("last")
            table.flush()


def _length(path: Path) -> int:
    with Arrays(path) as arrays:
        return len(arrays.read("hash"))


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Takes repeated lines out of training documents.

    table: ROW[lines], sorted by hash. codes: of all documents, before this step. characters: of the shortest line.
    """

    table: np.ndarray
    codes: np.ndarray
    characters: int

    @classmethod
    def open(cls, plan: Plan) -> LineFilter | None:
        """That of a corpus, memory-mapped; None where lines are not deduplicated."""
        if plan.lines is None:
            return None
        path = plan.folder / FOLDER / TABLE
        codes = plan.array(codes_before(plan), np.uint8)
        return cls(np.load(path, mmap_mode="r"), codes, plan.lines.characters)

    def strip(self, texts: list[str], documents: np.ndarray) -> list[str]:
        """The texts without the lines that earlier documents keep; held-out ones as they are.

        documents: their numbers in the corpus.
        """
        if not len(self.table) or not len(texts):
            return texts
        batch = TextBatch(texts, ids=[""] * len(texts))
        lines = batch.lines
        places = np.minimum(np.searchsorted(self.table["hash"], lines.hashes), len(self.table) - 1)
        rows = self.table[places]
        repeated = (rows["hash"] == lines.hashes) & (lines.lengths >= self.characters)
        training = self.codes[documents] == TRAIN
        gone = repeated & training[lines.owners] & (documents[lines.owners] > rows["last"])
        found = without(batch, lines, gone) or texts
        return [new if new is old else clean(new) for new, old in zip(found, texts, strict=True)]


@dataclass(frozen=True)
class LineMeasure(GroupStage):
    """What is left of a group's training documents: their bytes."""

    name: ClassVar[str] = "deduplicate.lines.measure"
    file: ClassVar[str] = "line-sizes"

    def run(self, task: int) -> None:
        """Read a group's training texts without their repeated lines."""
        plan = self.plan
        lines = LineFilter.open(plan)
        assert lines is not None
        with Arrays(plan.path("exact-keys", task)) as arrays:
            sizes = arrays.read("bytes")
        changed = 0
        for place in plan.groups[task]:
            for rows, texts in texts_of(place, group_codes(plan, codes_before(plan), place), TRAIN):
                stripped = lines.strip(texts, rows + place.first)
                changed += sum(one is not other for one, other in zip(texts, stripped, strict=True))
                own = rows + place.first - plan.starts[task]
                sizes[own] = [len(text.encode()) for text in stripped]
        write_arrays(plan.path(self.file, task), {"bytes": sizes, "changed": np.array([changed], np.int64)})


@dataclass(frozen=True)
class LineCodes(JoinStage):
    """Codes of all documents: those without any line left go."""

    name: ClassVar[str] = "deduplicate.lines.codes"
    file: ClassVar[str] = "line-tally.json"

    def run(self, task: int) -> None:
        """Join all groups' sizes."""
        plan = self.plan
        codes = np.array(plan.array(codes_before(plan), np.uint8))
        changed = 0
        for group, (start, stop) in enumerate(zip(plan.starts, plan.starts[1:], strict=False)):
            with Arrays(plan.path("line-sizes", group)) as arrays:
                changed += int(arrays.read("changed")[0])
                own = codes[start:stop]
                own[(own == TRAIN) & (arrays.read("bytes") == 0)] = EMPTIED
        write_values(plan.path("codes-lines.bin"), codes)
        write_tally(plan, self.file, codes, "line-sizes", changed=changed)
