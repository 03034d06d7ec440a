"""Phrases found by hash are those that a plain search of words finds."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clapas_data.text.phrases import Phrases, words_of
from clapas_data.text.table import MISSING, HashTable

WORDS = st.lists(st.sampled_from(["un", "Deux", "trois", "été", "l'eau"]), max_size=12).map(" ".join)


@given(st.lists(WORDS, max_size=6), st.lists(WORDS, min_size=1, max_size=8))
def test_as_a_plain_search(texts: list[str], terms: list[str]) -> None:
    """Of any length, overlapping, never across two documents."""
    split = [tuple(re.findall(r"\w+", term.lower())) for term in terms]
    phrases = list(dict.fromkeys(own for own in split if own))
    if not phrases:
        return
    words = words_of(texts)
    found = Phrases.of_texts([" ".join(own) for own in phrases]).find(words)
    expected, first = set(), 0
    for text in texts:
        own = re.findall(r"\w+", text.lower())
        for place in range(len(own)):
            for number, phrase in enumerate(phrases):
                if tuple(own[place : place + len(phrase)]) == phrase:
                    expected.add((first + place, len(phrase), number))
        first += len(own)
    places = [*zip(*(part.tolist() for part in found), strict=True)]
    assert set(places) == expected
    assert len(places) == len(expected)


def test_a_full_table_finds_all_and_nothing_else() -> None:
    """100,000 hashes, many of which want the same slot."""
    rng = np.random.default_rng(0)
    keys = np.unique(rng.integers(0, 2**63, 120_000, np.uint64))[:100_000]
    keys[:1000] = (keys[:1000] >> np.uint64(20) << np.uint64(20)) | np.uint64(7)
    keys = np.unique(keys)
    order = rng.permutation(len(keys))
    table = HashTable.build(keys[order], order.astype(np.uint32))
    assert len(table.slots) == 2**18
    assert (table.find(keys) == np.arange(len(keys))).all()
    assert (table.find(np.unique(rng.integers(2**63, 2**64, 100_000, np.uint64))) == MISSING).all()
    assert (HashTable.build(keys[:0], np.zeros(0, np.uint32)).find(keys) == MISSING).all()
