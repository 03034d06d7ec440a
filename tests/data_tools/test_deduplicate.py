"""Exact duplicates: the first of each text stays, held-out ones before all."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clapas_data.deduplicate import duplicates, text_hash


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans())))
def test_one_of_each_text_stays(documents: list[tuple[str, bool]]) -> None:
    """As a plain scan does: held-out documents first, then the others, each text once."""
    hashes = np.frombuffer(b"".join(text_hash(text.encode()) for text, _ in documents), np.uint64).reshape(-1, 2)
    first = np.array([held for _, held in documents], bool)
    seen: set[str] = set()
    wanted = np.zeros(len(documents), bool)
    for turn in (True, False):
        for place, (text, held) in enumerate(documents):
            if held == turn:
                wanted[place] = text in seen
                seen.add(text)
    assert duplicates(hashes, first).tolist() == wanted.tolist()
