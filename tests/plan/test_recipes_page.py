"""docs/recipes.md is what the command prints: a table of every launch recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.plan.plan import plan
from clapas.plan.recipes_page import _cells, page
from clapas.recipe.recipe import read_recipe

PAGE = Path(__file__).parents[2] / "docs/recipes.md"


@pytest.mark.slow
def test_the_page_is_up_to_date() -> None:
    """Write it anew by `make reference`."""
    assert PAGE.read_text(encoding="utf-8").strip() == page().strip()


def test_a_row_is_of_the_layout_that_it_names() -> None:
    """Laid over the recipe, what the layout column says gives the row's figures: the recipe's own keys count too."""
    gpus, layout, *figures = _cells("pretrain/french-1b", "jean-zay", "h100", 4)
    written = plan(read_recipe("pretrain/french-1b", layout.strip("`").split()), "jean-zay", 4)["as_written"]
    assert gpus == "16"
    assert figures[:2] == [f"{written['memory_bytes'] / 1e9:.0f}", f"{written['tokens_per_second_per_gpu']:,.0f}"]
    assert figures[3] == f"{written['days'] * 24:.1f} hours"
