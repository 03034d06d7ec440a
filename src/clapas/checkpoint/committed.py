"""Which checkpoints a run has. Knows no torch."""

from __future__ import annotations

import re
from pathlib import Path

COMMITTED = "COMMITTED"
FOLDER = re.compile(r"step-(\d{8,})")


def committed_checkpoints(checkpoints: Path) -> list[Path]:
    """A run's committed checkpoints, oldest first."""
    if not checkpoints.is_dir():
        return []
    found = [path for path in checkpoints.iterdir() if FOLDER.fullmatch(path.name) and (path / COMMITTED).is_file()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint folder's name."""
    return int(checkpoint.name.removeprefix("step-"))
