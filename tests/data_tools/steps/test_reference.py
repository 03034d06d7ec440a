"""docs/data-steps.md is what the code says."""

from __future__ import annotations

from pathlib import Path

from clapas_data.steps.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "data-steps.md"


def test_the_page_is_current() -> None:
    """A step or an option added is in it after `make reference`."""
    assert PAGE.read_text(encoding="utf-8") == reference()
