"""A run that may be released: the tests' finished run, with what a release asks to be measured of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clapas.release.release import Wishes, release
from clapas.release.signature import LocalKey, generate_key
from commands import Clapas
from release.drafts import small_answers

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
def released(released_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of it with an intermediate checkpoint; its keys in `keys` beside it. Read it, do not change it."""
    place = tmp_path_factory.mktemp("released")
    generate_key(place / "keys")
    wishes = Wishes(LocalKey(place / "keys/key.pem"), revisions=(10,))
    release(released_run, place / "model", small_answers(), wishes)
    return place / "model"
