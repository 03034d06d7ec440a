"""Repeated lines: they stay in the first few documents that have them, and nowhere else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data_tools.deduplicate.made import deduplicate

from clapas_data.codes import DUPLICATE, EMPTIED, HELD_OUT, TRAIN
from clapas_data.steps.deduplicate import Lines, Near

FOOTER = "Consultez la version en vigueur sur le site officiel"
lines = st.sampled_from(["Première ligne", "Deuxième ligne", "Une autre", "courte", "PREMIÈRE LIGNE", ""])


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.lists(lines, min_size=1, max_size=4).map("\n".join).map(str.strip).filter(bool), min_size=1, max_size=8
    ),
    st.integers(1, 3),
    st.lists(st.integers(0, 8), max_size=2),
    st.sets(st.integers(0, 7), max_size=2),
)
def test_as_defined(texts: list[str], most: int, cuts: list[int], held: set[int]) -> None:
    """A walk through the training documents that counts those that have each line; lines under 8 characters stay."""
    texts = [text for place, text in enumerate(texts) if "\n\n\n" not in text] or ["une"]
    held_out = sorted(place for place in held if place < len(texts))
    result = deduplicate(texts, lines=Lines(characters=8, most=most), cuts=cuts, held_out=held_out)
    seen: dict[str, int] = {}
    for place, text in enumerate(texts):
        if result.codes[place] in (HELD_OUT, DUPLICATE):
            continue
        own = {line.lower() for line in text.split("\n") if len(line) >= 8}
        gone = {line for line in own if seen.get(line, 0) >= most}
        for line in own:
            seen[line] = seen.get(line, 0) + 1
        left = [line for line in text.split("\n") if line.lower() not in gone]
        assert result.codes[place] == (TRAIN if any(left) else EMPTIED)
        if any(left):
            assert [line for line in result.texts[place].split("\n") if line] == [line for line in left if line]
        if not gone:
            assert result.texts[place] == text


def test_after_exact_and_near() -> None:
    """Documents that went before count no line; bytes are of what is left; held-out text stays whole."""
    bodies = [" ".join(f"mot{number}x{place}" for place in range(30)) for number in range(4)]
    texts = [f"{body}\n\n{FOOTER}" for body in bodies] + [FOOTER]
    result = deduplicate([texts[0], *texts], Near(), Lines(most=1), held_out=[3])
    assert result.codes == [TRAIN, DUPLICATE, TRAIN, HELD_OUT, TRAIN, EMPTIED]
    assert result.texts == {0: texts[0], 2: bodies[1], 4: bodies[3]}
    size = sum(len(text.encode()) for text in (texts[0], bodies[1], texts[2], bodies[3]))
    assert result.steps["deduplicate.lines"][1::2] == (4, size)
