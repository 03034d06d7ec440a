"""Shares of word n-grams: the fast way counts as the plain way does, and takes seconds for 30 MB."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clapas_data.decontaminate import ngram_index, shared_fraction

words = st.lists(st.sampled_from(["le", "la", "les", "un", "une", "maire", "code", "loi"]), max_size=12).map(" ".join)


def plain(text: str, size: int) -> list[tuple[str, ...]]:
    """The n-grams of a text, by definition."""
    own = re.findall(r"\w+", text.lower())
    if 0 < len(own) < size:
        return [tuple(own)]
    return [tuple(own[place : place + size]) for place in range(len(own) - size + 1)]


@given(st.lists(words, max_size=5), st.lists(words, max_size=5), st.integers(1, 6))
def test_as_defined(held_out: list[str], texts: list[str], size: int) -> None:
    """The fraction of each text's n-grams that occur in any held-out text."""
    known = {gram for text in held_out for gram in plain(text, size)}
    wanted = [sum(gram in known for gram in plain(text, size)) / max(1, len(plain(text, size))) for text in texts]
    assert shared_fraction(texts, size, ngram_index(held_out, size)) == pytest.approx(wanted)


def test_real_copies_are_found(guides: list[str]) -> None:
    """A guide with its lines shuffled among others' is close to itself, and another guide is not."""
    original = guides[0]
    copy = "\n".join(reversed(original.split("\n")))
    index = ngram_index([original], 5)
    near, far = shared_fraction([copy.upper(), guides[40]], 5, index)
    assert near > 0.8
    assert far < 0.3
