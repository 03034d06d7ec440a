"""From verified pairs to the documents that stay: connected components, and in each a choice by rank.

The documents of a component are taken in the order of their ranks (held-out ones, then what `keep` asks for, then the
earliest): one that is a verified near duplicate of a document that stays goes, any other stays. So a chain of small
changes merges no two documents that differ: each that goes is near to one that stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from clapas_data.codes import NEAR_DUPLICATE
from clapas_data.deduplicate.arrays import Arrays, write_arrays
from clapas_data.deduplicate.stage import JoinStage, write_tally, write_values


@dataclass(frozen=True)
class NearJoin(JoinStage):
    """Codes of all documents, and of each that goes the one that stays. Memory: about 100 bytes a verified pair."""

    name: ClassVar[str] = "deduplicate.near.join"
    file: ClassVar[str] = "near-tally.json"

    def run(self, task: int) -> None:
        """Join all groups' pairs."""
        plan = self.plan
        candidates = 0
        columns = [[np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]]
        for group in range(len(plan.groups)):
            with Arrays(plan.path("near-verified", group)) as arrays:
                candidates += int(arrays.read("verified")[0])
                for column, name in zip(columns, ("low", "high", "jaccard"), strict=True):
                    column.append(arrays.read(name))
        low, high, jaccard = map(np.concatenate, columns)
        documents, ends = np.unique(np.concatenate([low, high]), return_inverse=True)
        ranks = plan.array("ranks.bin", np.uint32)[documents]
        one, two = ends[: len(low)], ends[len(low) :]
        stays_by = keepers(one, two, np.lexsort((documents, ~ranks)))
        gone = np.flatnonzero(stays_by >= 0)
        codes = np.array(plan.array("codes-exact.bin", np.uint8))
        codes[documents[gone]] = NEAR_DUPLICATE
        links = {
            "document": documents[gone],
            "kept": documents[stays_by[gone]],
            "jaccard": _between(one, two, jaccard, gone, stays_by[gone]),
            "component": documents[components(one, two, len(documents))][gone],
        }
        write_arrays(plan.path("near-links.safetensors"), links)
        write_values(plan.path("codes-near.bin"), codes)
        write_tally(plan, self.file, codes, candidates=candidates, pairs=len(low))


def components(one: np.ndarray, two: np.ndarray, count: int) -> np.ndarray:
    """The lowest document that each is connected with: int64[count]. one, two: the pairs' documents.

    Each round hooks roots to lower ones and halves the paths (Shiloach and Vishkin, 1982): a logarithmic number.
    """
    root = np.arange(count)
    while len(one):
        ones, twos = root[one], root[two]
        apart = ones != twos
        one, two, ones, twos = one[apart], two[apart], ones[apart], twos[apart]
        np.minimum.at(root, np.maximum(ones, twos), np.minimum(ones, twos))
        while (root[root] != root).any():
            root = root[root]
    return root


def keepers(one: np.ndarray, two: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Of each document that goes the one of the highest rank that stays and that it is paired with, else -1.

    one, two: the pairs' documents. order: all documents, the highest rank first. What the plain walk in that order
    finds, found in rounds: a document stays once all better ones that it is paired with have gone.
    """
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    better, worse = position[one], position[two]
    better, worse = np.minimum(better, worse), np.maximum(better, worse)
    kept_by = np.full(len(order), len(order))
    stays, gone, waiting = (np.zeros(len(order), bool) for _ in range(3))
    undecided = np.arange(len(order))
    while len(undecided):  # each round costs what is still undecided: one long chain among millions takes many rounds
        waiting[worse] = True
        stays[undecided[~waiting[undecided]]] = True
        waiting[worse] = False
        decided = stays[better]
        goes = worse[decided]
        np.minimum.at(kept_by, goes, better[decided])
        gone[goes] = True
        # pairs of documents that have gone decide nothing; pairs of one that stays may still name a better keeper
        live = ~decided & ~gone[better]
        better, worse = better[live], worse[live]
        undecided = undecided[~(stays[undecided] | gone[undecided])]
    found = np.where(kept_by < len(order), order[np.minimum(kept_by, len(order) - 1)], -1)
    return found[position]


def _between(one: np.ndarray, two: np.ndarray, jaccard: np.ndarray, gone: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The similarity of pairs that are among the verified ones."""
    base = max(one.max(initial=0), two.max(initial=0)) + 1
    keys = np.minimum(one, two) * base + np.maximum(one, two)
    order = np.argsort(keys)
    return jaccard[order[np.searchsorted(keys[order], np.minimum(gone, kept) * base + np.maximum(gone, kept))]]
