"""Weights & Biases as a sink of metrics."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from clapas.recipe.errors import UserError
from clapas.train.callbacks.base import Callback
from clapas.train.telemetry.columns import numbers

if TYPE_CHECKING:
    from clapas.train.run import Run


QUIET = {"x_disable_meta": True, "disable_git": True, "save_code": False, "console": "off"}
"""What W&B would collect unasked: every SLURM_… variable, with SLURM_JWT a token; the command line, the address of the
git remote, what the terminal shows. environment.json and the recipe say what a run was, and hold no secret."""


class WandbLogger(Callback):
    """Weights & Biases, offline unless asked: `wandb sync RUN/wandb/…` sends it later. Rank 0 only."""

    def __init__(self, mode: str, project: str) -> None:
        self._mode = mode
        self._project = project
        self._wandb_run: Any = None

    def on_start(self, run: Run) -> None:
        """Open the W&B run; the same run folder keeps the same id over its segments."""
        if not run.is_first:
            return
        try:
            import wandb
        except ImportError:
            raise UserError("telemetry.wandb needs the wandb package", way_out="pip install 'clapas[wandb]'") from None
        os.environ.setdefault("WANDB_SILENT", "true")
        with contextlib.redirect_stdout(sys.stderr):
            self._wandb_run = wandb.init(
                mode="offline" if self._mode == "offline" else "online",
                project=self._project,
                name=run.recipe.name,
                id=f"{run.recipe.name}-{run.identity[:12]}",
                resume="allow" if self._mode == "online" else None,
                dir=str(run.recipe.folder),
                config=run.recipe.model_dump(mode="json"),
                settings=wandb.Settings(**QUIET),
            )

    def on_log(self, run: Run, row: dict[str, Any]) -> None:
        """Send a row; validation rows under their split's name."""
        if self._wandb_run is not None:
            self._wandb_run.log(numbers(row), step=row["step"])

    def on_end(self, run: Run) -> None:
        """Close the W&B run."""
        if self._wandb_run is not None:
            self._wandb_run.finish()
