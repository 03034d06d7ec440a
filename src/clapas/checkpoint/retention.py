"""Which checkpoints of a run stay on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from clapas.checkpoint.committed import committed_checkpoints, step_of
from clapas.checkpoint.reader import is_sound


def retain(checkpoints: Path, keep: int, keep_every: int | None = None) -> list[Path]:
    """Remove all but the `keep` newest committed checkpoints, those of every `keep_every`-th step, and the newest
    sound one (files there, sizes right). Returns those removed. Rank 0 alone calls it.
    """
    found = committed_checkpoints(checkpoints)
    kept = set(found[-keep:])
    if keep_every is not None:
        kept.update(path for path in found if step_of(path) % keep_every == 0)
    kept.update(next(([path] for path in reversed(found) if is_sound(path)), []))
    removed = [path for path in found if path not in kept]
    for path in removed:
        doomed = path.with_name(f".{path.name}.removed")
        path.rename(doomed)  # first out of sight, so that no reader meets it half removed
    for left in checkpoints.glob(".step-*.removed"):  # also what a kill has left of an earlier removal
        shutil.rmtree(left, ignore_errors=True)
    return removed
