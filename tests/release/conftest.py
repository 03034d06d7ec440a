"""A run that may be released: the tests' finished run, with what a release asks to be measured of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.release.drafts import write_answers

from clapas.release.signature import generate_key
from commands import Clapas

STEP = 10
"""Of an intermediate checkpoint of the tests' run."""
MEASUREMENTS = (("--probe", "all"), ("--tasks", "local"), ("--contamination",))


@pytest.fixture(scope="session")
def released_run(trained_run: Path, clapas: Clapas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tests' finished run with its recorded measurements. Read it, do not change it."""
    run = Path(shutil.copytree(trained_run, tmp_path_factory.mktemp("measured") / "run"))
    for options in MEASUREMENTS:
        result = clapas("eval", run, *options, "--record", cwd=run.parent)
        assert result.returncode == 0, result.stderr
    return run


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; its public half lies beside it."""
    folder = tmp_path_factory.mktemp("keys")
    generate_key(folder)
    return folder / "key.pem"


@pytest.fixture(scope="session")
def released(released_run: Path, key: Path, clapas: Clapas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' run, released by the command. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("release")
    answers = write_answers(folder / "release.yaml")
    options = ("--answers", answers, "--key", key, "--gguf", "q8_0", "--revisions", STEP, "--out", "model", "--json")
    result = clapas("release", released_run, *options, cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    (folder / "said.json").write_text(result.stdout)
    return folder / "model"
