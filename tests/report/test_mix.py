"""`clapas data mix`: a table, JSON, bars in the terminal or in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas.report.mix import IN_TERMINAL, mix_command
from commands import Clapas
from corpora import write_corpus

SMALL = ("train.steps=10", "data.sequence_length=16")


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A small corpus's folder, as an override."""
    write_corpus(tmp_path / "data", {"law": [[30] * 20], "web": [[50] * 40]})
    return f"data.path={tmp_path / 'data'}"


def test_a_recipe_and_a_folder_are_shown(data: str, tmp_path: Path, clapas: Clapas) -> None:
    """By the command itself; overrides are the recipe's."""
    ended = clapas("data", "mix", "test", data, *SMALL, "data.mixture={law: 1, web: 3}", "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (stage,) = json.loads(ended.stdout)["stages"]
    assert {row["source"]: row["tokens"] for row in stage["sources"]} == {"law": 320, "web": 960}
    assert "2,600 tokens" in mix_command(str(tmp_path / "data"), [])
    with pytest.raises(UserError, match="nothing to override"):
        mix_command(str(tmp_path / "data"), ["data.max_epochs=1"])


def test_it_is_drawn(data: str, tmp_path: Path) -> None:
    """In the terminal after the table; into a file of the kind that its name says."""
    overrides = [data, *SMALL, "data.temperature=2"]
    drawn = mix_command("test", overrides, plot=IN_TERMINAL)
    assert "the data (%)" in drawn
    assert "▇ 76.92" in drawn
    mix_command("test", overrides, plot=tmp_path / "mix.svg")
    assert "epochs of the run" in (tmp_path / "mix.svg").read_text()
    mix_command(str(tmp_path / "data"), [], plot=tmp_path / "mix.png")
    assert (tmp_path / "mix.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="not a plot's file"):
        mix_command("test", overrides, plot=tmp_path / "mix.gif")
    with pytest.raises(UserError, match="--plot: no such folder"):
        mix_command("test", overrides, plot=tmp_path / "nowhere/mix.svg")
