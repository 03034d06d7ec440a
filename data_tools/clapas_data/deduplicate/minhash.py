"""Documents as sets of word n-grams, and MinHash signatures of these sets, cut into bands.

Two documents' signatures agree in each value with the probability of their sets' Jaccard similarity (Broder, 1997).
The signatures are rensa's, from the hashes of the words that are split already.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from clapas_data.optional import needs
from clapas_data.steps.deduplicate import Near
from clapas_data.text.batch import TextBatch
from clapas_data.text.hash import text_hash
from clapas_data.text.spans import mixed

SEED = 42


def shingles(texts: Sequence[str], words: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all texts' word n-grams, uint64, repeats among them, and where each text's begin, int64[texts + 1].

    A text of fewer words is one n-gram of all of them: it equals only texts of the same words, and a text without
    words has none.
    """
    grams, owners = TextBatch(texts, ids=[""] * len(texts)).words.ngrams_or_whole(words)
    return grams, np.searchsorted(owners, np.arange(len(texts) + 1))


def sets_of(texts: Sequence[str], words: int) -> list[np.ndarray]:
    """Each text's set of n-grams: sorted distinct uint64 hashes."""
    grams, bounds = shingles(texts, words)
    return [np.unique(grams[first:stop]) for first, stop in pairwise(bounds)]


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """The similarity of two sets that are not empty: what they share of what they have."""
    both = np.concatenate([one, other])
    both.sort()
    common = np.count_nonzero(both[1:] == both[:-1])
    return common / (len(both) - common)


def band_keys(texts: Sequence[str], near: Near, source: str) -> tuple[np.ndarray, np.ndarray]:
    """The texts that have any word, int64[texts], and a key for each of their bands, uint64[texts, bands].

    Texts that share a key are candidates. Keys of different bands, and of different sources where those are not
    compared, do not meet.
    """
    grams, bounds = shingles(texts, near.words)
    full = np.flatnonzero(np.diff(bounds))
    bounds = np.append(bounds[full], len(grams))
    signatures = _signatures(grams, bounds, near.bands * near.rows).reshape(len(full), near.bands, near.rows)
    salt = 0 if near.across == "corpus" else int.from_bytes(text_hash(source.encode())[:8], "little")
    keys = np.broadcast_to(mixed(np.arange(near.bands, dtype=np.uint64) ^ np.uint64(salt)), signatures.shape[:2])
    for row in range(near.rows):
        keys = mixed(keys ^ signatures[:, :, row])
    return full, keys


def _signatures(grams: np.ndarray, bounds: np.ndarray, permutations: int) -> np.ndarray:
    """uint64[documents, permutations]."""
    if len(bounds) == 1:
        return np.zeros((0, permutations), np.uint64)
    with needs("rensa", "the step `deduplicate.near`"):
        from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue] - made by `import *`
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(grams, bounds.astype(np.uint64), permutations, SEED)
    return np.array(matrix.to_rows(), np.uint64)
