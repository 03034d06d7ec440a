"""What `clapas data build --slurm SITE --dry-run` prints: a script an array, as a golden file, in any folder."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from clapas.cli import run
from clapas.launch.data_command import slurm_build
from clapas.recipe.errors import UserError

GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus file whose source is nowhere: nothing of it is looked at."""
    path = tmp_path / "made.yaml"
    path.write_text("name: made\nsources:\n  a: {files: nowhere.jsonl, licence: MIT}\n")
    return path


def scripts(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    """The scripts that the command prints."""
    assert run(["data", "build", *map(str, words), "--dry-run"]) == 0
    head, *found = capsys.readouterr().out.split("#!/usr/bin/env bash\n")
    assert head == ""
    return found


def test_the_scripts_of_a_site_are_those_that_were_read(
    corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jean Zay: its kind of node for data, a core an element, arrays and single jobs in turn."""
    monkeypatch.setattr(sys, "executable", "/project/clapas/.venv/bin/python")
    site = ("--slurm", "jean-zay", "--account", "xyz@cpu", "--tasks", 500)
    found = scripts(capsys, corpus, "--out", "/scratch/data/made", *site)
    golden, script = GOLDEN / "jean-zay-data-read.sh", f"#!/usr/bin/env bash\n{found[0].rstrip()}\n"
    if os.environ.get("CLAPAS_GOLDEN") == "write":
        golden.write_text(script)
    assert script == golden.read_text(), "read it, then CLAPAS_GOLDEN=write pytest tests/launch"
    assert ["--array=0-499" in script for script in found] == [True, False, True, True, False, True, False]
    assert all("--kill-on-invalid-dep=yes" in script and "--requeue" in script for script in found)


def test_a_folder_of_any_name_is_quoted(corpus: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """For the shell, and for sbatch; what no quotes help with is refused."""
    out = tmp_path / "des données; $(touch a) `b` 50%a 'c'"
    for script in scripts(capsys, corpus, "--out", out, "--slurm", "local", "--tasks", 3):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        (command,) = (line for line in script.splitlines() if line.startswith("exec "))
        words = shlex.split(command)
        assert words[words.index("--out") + 1] == str(out)
        (log,) = (line for line in script.splitlines() if "--output=" in line)
        assert f'--output="{str(out).replace("%", "%%")}/launch/001/job-' in log
        assert '-%a.log"' in log
    assert run(["data", "build", str(corpus), "--out", f'{tmp_path}/a"b', "--slurm", "local", "--dry-run"]) == 2
    assert "wanted:  a folder without double quotes" in capsys.readouterr().err


def test_streams_are_refused_where_nodes_have_no_internet(capsys: pytest.CaptureFixture[str]) -> None:
    """With the overrides that fetch them beforehand."""
    words = ["data", "build", "french", "--out", "out", "--slurm", "jean-zay", "--account", "xyz@cpu", "--dry-run"]
    assert run(words) == 2
    told = capsys.readouterr().err
    assert "compute nodes of Jean Zay (GENCI-IDRIS) have no internet" in told
    assert "found:   web, books, encyclopedia, english" in told
    overrides = told.partition("fetch them first, from here: ")[2].partition(";")[0].split()
    assert run([*words[:3], *overrides, *words[3:]]) == 0


def test_options_of_arrays_are_refused_where_none_is_made(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` above all: it would build."""
    for words in (["--dry-run"], ["--tasks", "0"], ["--time", "1:00:00"]):
        assert run(["data", "build", str(corpus), "--out", str(corpus.parent / "out"), *words]) == 2
        assert f"{words[0]} needs --slurm SITE" in capsys.readouterr().err
    assert not (corpus.parent / "out").exists()
    assert run(["data", "inspect", str(corpus.parent), "--source", "a"]) == 2
    with pytest.raises(UserError, match="--tasks: not a count"):
        slurm_build(argparse.Namespace(tasks=0))


def test_what_is_refused_is_said_before_anything_is_fetched(
    corpus: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No tasks, workers on a cluster, an account of another kind of hours: one message each."""
    refused = {
        ("--account", "xxx@cpu", "--tasks", "0"): "--tasks: not a count",
        ("--account", "xxx@cpu", "--workers", "2"): "--workers is for this machine",
        ("--account", "xxx@h100"): "no account of this site has that form",
    }
    for options, message in refused.items():
        assert run(["data", "build", str(corpus), "--out", str(tmp_path / "out"), "--slurm", "jean-zay", *options]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
