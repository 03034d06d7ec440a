"""What is refused before a state is read into an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.engine.state import check_shapes
from clapas.recipe.errors import UserError

WANTED = {"a": (2, 3), "b": (4,), "c": (5,)}


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ({"a": (2, 3), "b": (5,), "c": (6,)}, "b"),
        ({"b": (4,), "c": (5,)}, "a"),
        ({**WANTED, "d": (1,), "e": (1,)}, "d"),
    ],
)
def test_parameters_that_differ_are_refused(found: dict[str, tuple[int, ...]], named: str, tmp_path: Path) -> None:
    """Another shape, one too few, one too many: every rank names the same one, the first."""
    check_shapes("the checkpoint is", tmp_path, WANTED, WANTED)
    with pytest.raises(UserError, match=f"the checkpoint is another model's: {named}\n") as error:
        check_shapes("the checkpoint is", tmp_path, found, WANTED)
    assert error.value.found == f"shape {found.get(named, 'not there')}"
    assert error.value.wanted == f"shape {WANTED.get(named, 'not there')}"
