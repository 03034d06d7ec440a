"""Sites: shipped files are sound, and say what nobody has verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.plan.site import read_site
from clapas.recipe.errors import UserError
from clapas.recipe.shipped import shipped_names


@pytest.mark.parametrize("name", shipped_names("slurm/sites"))
def test_a_shipped_site_is_sound(name: str) -> None:
    """It is read under its own name, and every group of facts says its source."""
    site = read_site(name)
    assert site.name == name
    assert site.energy.pue >= 1
    assert "energy" in site.unverified()


def test_what_was_verified_is_told_apart() -> None:
    """A group with a date and a page is verified; one with false is named by its dotted key."""
    unverified = read_site("jean-zay").unverified()
    assert "directories.work" not in unverified
    assert "partitions.h100" in unverified
    assert "partitions.h100.qos.0" in unverified


def test_mistakes_are_told(tmp_path: Path) -> None:
    """An unknown site, an unknown partition, a template, and `verified: true` without saying what was read."""
    with pytest.raises(UserError, match="jean-zay"):
        read_site("jean-zey")
    with pytest.raises(UserError, match="one of: h100, a100"):
        read_site("jean-zay").partition("h200")
    with pytest.raises(UserError, match="template"):
        read_site("meso-lr").partition()
    mine = tmp_path / "mine.yaml"
    local = (Path(__file__).parents[2] / "slurm/sites/local.yaml").read_text()
    mine.write_text(local.replace("verified: false", "verified: true"))
    with pytest.raises(UserError, match="verified"):
        read_site(mine)
