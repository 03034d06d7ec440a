"""Exact duplicates: the first of each text stays, held-out ones before all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data_tools.deduplicate.made import deduplicate

from clapas_data.codes import DUPLICATE, HELD_OUT, TRAIN


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), min_size=1, max_size=12),
    st.lists(st.integers(0, 12), max_size=3),
)
def test_one_of_each_text_stays(documents: list[tuple[str, bool]], cuts: list[int]) -> None:
    """As a plain scan does: held-out documents first, then the others, each text once."""
    texts = [text for text, _ in documents]
    held_out = [place for place, (_, held) in enumerate(documents) if held]
    seen: dict[str, int] = {}
    wanted = [HELD_OUT if held else TRAIN for _, held in documents]
    links = {}
    for turn in (True, False):
        for place, (text, held) in enumerate(documents):
            if held == turn:
                if text in seen:
                    wanted[place] = DUPLICATE
                    links[place] = (seen[text], 1.0, seen[text])
                seen.setdefault(text, place)
    result = deduplicate(texts, cuts=cuts, held_out=held_out)
    assert result.codes == wanted
    assert result.links == links
    kept = len(set(texts))
    assert result.steps == {"deduplicate": (len(texts), kept, len(texts), kept)}
