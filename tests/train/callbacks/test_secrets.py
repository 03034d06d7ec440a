"""A run's folder is shared, uploaded and published: no secret of the environment is in it."""

from __future__ import annotations

import json
from pathlib import Path

from train.callbacks.conftest import REMOTE, SECRETS

MARK = b"planted"
"""Stands in every secret of `conftest.SECRETS` and in the git remote's password."""


def test_no_byte_of_a_run_is_a_secret(told_run: Path) -> None:
    """Keys, tokens, a proxy's password, a git remote's: in no file of a run with every sink on, nor in its output."""
    assert all(MARK in value.encode() for value in (*SECRETS.values(), REMOTE))
    files = [path for path in told_run.rglob("*") if path.is_file()]
    kinds = {path.relative_to(told_run).parts[0] for path in files}
    assert {"wandb", "tensorboard", "profile", "segments", "checkpoints", "ledger.jsonl", "recipe.yaml"} <= kinds
    assert [str(path) for path in files if MARK in path.read_bytes()] == []
    assert MARK not in (told_run.parent / "said").read_bytes()


def test_what_a_segment_ran_on_is_still_told(told_run: Path) -> None:
    """Versions, host and ranks, without W&B's own collection of them."""
    environment = json.loads((told_run / "segments/001/environment.json").read_text())
    assert environment.keys() == {"python", "platform", "host", "cpus", "ranks", "versions"}
