"""Candidate pairs verified: the exact Jaccard similarity of two documents' sets of n-grams.

Two stages: shingles (the sets of a group's documents that stand in any pair), verify (the pairs whose lower document
is of a group). So a pair's texts need not be read together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from clapas_data.deduplicate.arrays import Arrays, write_arrays
from clapas_data.deduplicate.minhash import jaccard, sets_of
from clapas_data.deduplicate.near import chosen_texts, gather_pieces, unique_pairs
from clapas_data.deduplicate.plan import Plan
from clapas_data.deduplicate.stage import GroupStage


@dataclass(frozen=True)
class NearShingles(GroupStage):
    """Sets of n-grams of the documents that stand in any pair."""

    name: ClassVar[str] = "deduplicate.near.shingles"
    file: ClassVar[str] = "near-shingles"

    def run(self, task: int) -> None:
        """Read the texts of a group's candidates."""
        plan = self.plan
        assert plan.near is not None
        (documents,) = gather_pieces(plan, "documents", task, "document")
        documents = np.unique(documents)
        sets = [np.zeros(0, np.uint64)]
        for place in plan.groups[task]:
            chosen = np.zeros(place.documents, bool)
            first, stop = np.searchsorted(documents, (place.first, place.first + place.documents))
            chosen[documents[first:stop] - place.first] = True
            if chosen.any():
                for _, texts in chosen_texts(place, chosen):
                    sets += sets_of(texts, plan.near.words)
        offsets = np.cumsum([len(one) for one in sets])
        write_arrays(
            plan.path(self.file, task), {"document": documents, "offset": offsets, "hash": np.concatenate(sets)}
        )


class _Sets:
    """The sets of a group's candidates, read from its file when asked."""

    def __init__(self, plan: Plan, group: int) -> None:
        self._arrays = Arrays(plan.path("near-shingles", group))
        self.documents, self.offsets = self._arrays.read("document"), self._arrays.read("offset")

    def __enter__(self) -> _Sets:
        return self

    def __exit__(self, *error: object) -> None:
        self._arrays.__exit__()

    def places(self, documents: np.ndarray) -> np.ndarray:
        """Where documents stand in the file."""
        return np.searchsorted(self.documents, documents)

    def sizes(self, documents: np.ndarray) -> np.ndarray:
        """Their sets' sizes."""
        return np.diff(self.offsets)[self.places(documents)]

    def read(self, documents: np.ndarray) -> dict[int, np.ndarray]:
        """Their sets; read at one go where they are many."""
        places = np.unique(self.places(documents))
        sizes = np.diff(self.offsets)[places]
        if sizes.sum() * 4 > self.offsets[-1]:
            base = int(self.offsets[places[0]]) if len(places) else 0
            values = self._arrays.read("hash", base, int(self.offsets[places[-1] + 1]) if len(places) else 0)
            return {
                int(self.documents[place]): values[self.offsets[place] - base : self.offsets[place + 1] - base]
                for place in places
            }
        return {
            int(self.documents[place]): self._arrays.read(
                "hash", int(self.offsets[place]), int(self.offsets[place + 1])
            )
            for place in places
        }


@dataclass(frozen=True)
class NearVerify(GroupStage):
    """The pairs that are near duplicates, with their similarity."""

    name: ClassVar[str] = "deduplicate.near.verify"
    file: ClassVar[str] = "near-verified"

    def run(self, task: int) -> None:
        """Verify a group's pairs, those with documents of the same other group together."""
        plan = self.plan
        assert plan.near is not None
        low, high = unique_pairs(*gather_pieces(plan, "pairs", task, "low", "high"))
        similar = np.zeros(len(low))
        others = np.searchsorted(plan.starts, high, "right") - 1
        with _Sets(plan, task) as own:
            for group in np.unique(others):
                pairs = np.flatnonzero(others == group)
                with _Sets(plan, int(group)) as other:
                    similar[pairs] = _similarities(own, other, low[pairs], high[pairs], plan.near.threshold)
        near = similar >= plan.near.threshold
        columns = {"low": low[near], "high": high[near], "jaccard": similar[near]}
        write_arrays(plan.path(self.file, task), {**columns, "verified": np.array([len(low)], np.int64)})


def _similarities(own: _Sets, other: _Sets, low: np.ndarray, high: np.ndarray, threshold: float) -> np.ndarray:
    """The pairs' similarities; 0 where the sizes alone say that they are below the threshold."""
    similar = np.zeros(len(low))
    sizes, others = own.sizes(low), other.sizes(high)
    hopeful = np.flatnonzero(np.minimum(sizes, others) >= threshold * np.maximum(sizes, others) - 1e-6)
    ones, twos = own.read(low[hopeful]), other.read(high[hopeful])
    for place in hopeful.tolist():
        similar[place] = jaccard(ones[int(low[place])], twos[int(high[place])])
    return similar
