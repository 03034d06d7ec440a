"""A trace of the steps asked for, which every viewer of Chrome traces opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas.train.callbacks.profiling import trace_path


def test_the_trace_holds_the_operations_of_the_steps_asked_for(told_run: Path) -> None:
    """Matrix products, and each part of a step twice, for two steps were recorded; of rank 0 alone."""
    trace: dict[str, Any] = json.loads(trace_path(told_run, 0, 3, 4).read_text())
    names = [event.get("name", "") for event in trace["traceEvents"]]
    assert "aten::mm" in names
    for part in ("data", "forward", "backward", "optimizer"):
        events = [e for e in trace["traceEvents"] if e.get("name") == part and e.get("cat") == "user_annotation"]
        assert len(events) == 2, part
    assert [path.name for path in (told_run / "profile").iterdir()] == ["steps-3-4-rank-0.json"]


@pytest.mark.parametrize(("given", "windows"), [("[3,4]", ((3, 4),)), ("[[3,4],[8,8]]", ((3, 4), (8, 8))), ("[]", ())])
def test_one_window_or_several(given: str, windows: tuple[tuple[int, int], ...]) -> None:
    """As a person writes them."""
    assert read_recipe("test", [f"profile.steps={given}"]).profile.steps == windows


@pytest.mark.parametrize("given", ["[4,3]", "[[3,5],[5,6]]", "[[8,9],[1,2]]"])
def test_windows_that_overlap_or_end_before_they_begin(given: str) -> None:
    """Are refused by name."""
    with pytest.raises(UserError, match=r"profile\.steps.*first <= last"):
        read_recipe("test", [f"profile.steps={given}"])
