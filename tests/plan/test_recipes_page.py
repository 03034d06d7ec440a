"""docs/recipes.md is what the command prints: a table of every launch recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.plan.recipes_page import page

PAGE = Path(__file__).parents[2] / "docs/recipes.md"


@pytest.mark.slow
def test_the_page_is_up_to_date() -> None:
    """Write it anew by `make reference`."""
    assert PAGE.read_text(encoding="utf-8").strip() == page().strip()
