"""What a corpus file may ask of deduplication, and what it is told where that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clapas.recipe.errors import UserError
from clapas_data.corpus import read_corpus
from clapas_data.deduplicate.exact import HELD_RANK, _ordered
from clapas_data.deduplicate.plan import Place, Plan, read_plan
from clapas_data.steps.deduplicate import Lines, Near


def corpus(folder: Path, steps: str) -> Path:
    """A corpus file with these steps."""
    (folder / "a.jsonl").write_text('{"text": "un"}\n')
    path = folder / "made.yaml"
    path.write_text(f"name: made\nsources: {{a: {{files: a.jsonl, licence: test}}}}\nsteps: {steps}\n")
    return path


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("[deduplicate.lines, deduplicate.near]", "done in this order: deduplicate.near, deduplicate.lines"),
        ("[deduplicate.near: {keep: score.beauty}]", "found score.beauty; source a has longest, first"),
        ("[deduplicate.near: {keep: shortest}]", "deduplicate.near.keep"),
        ("[deduplicate.near: {threshold: 0.1}]", "deduplicate.near.threshold"),
        ("[deduplicate.near, repair]", "move it before deduplicate.near"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, steps: str, message: str) -> None:
    """Wrong order, a score that no step gives, options out of range."""
    with pytest.raises(UserError, match=message):
        read_corpus(corpus(tmp_path, steps))


def test_a_plan_is_read_as_written(tmp_path: Path) -> None:
    """By the tasks, in other processes."""
    read = read_corpus(corpus(tmp_path, "[deduplicate.exact, deduplicate.near: {words: 7}, deduplicate.lines]"))
    places = tuple(Place(tmp_path / f"{number}.arrow", "a", number * 10, 10, 2**20) for number in range(200))
    plan = Plan.of(read, tmp_path, places)
    assert (plan.near, plan.lines) == (Near(words=7), Lines())
    plan.write()
    assert read_plan(tmp_path) == plan
    assert [place for group in plan.groups for place in group] == list(places)
    assert len(plan.groups) == 50, "of four chunks each: a 64th of the corpus, and what goes over it"
    assert plan.starts.tolist() == [*range(0, 2000, 40), 2000]


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1))
def test_ranks_follow_scores(scores: list[float]) -> None:
    """In 31 bits, beside that of held-out documents: a higher score never ranks lower; one that is none is lowest."""
    ranks = _ordered(np.array([*scores, np.nan], np.float32))
    assert (ranks < HELD_RANK).all()
    assert ranks[-1] <= ranks.min()
    order = np.argsort(np.array(scores, np.float32), kind="stable")
    assert (np.diff(ranks[order].astype(np.int64)) >= 0).all()
