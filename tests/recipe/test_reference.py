"""docs/recipe.md is what the code says."""

from __future__ import annotations

from pathlib import Path

from clapas.recipe.recipe import Recipe
from clapas.recipe.reference import reference
from clapas.recipe.typed import known_keys

PAGE = Path(__file__).parents[2] / "docs/recipe.md"


def test_the_page_is_up_to_date() -> None:
    """`make reference` writes it."""
    assert PAGE.read_text() == reference(), "run `make reference`"


def test_every_key_is_on_the_page() -> None:
    """By its name, in a table or as a section."""
    text = reference()
    for key in known_keys(Recipe):
        assert f"`{key.rpartition('.')[2]}`" in text or f"`{key}`" in text, key
