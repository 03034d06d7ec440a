"""What hangs on the training loop without being part of it.

A callback's methods are called on every rank, in the order of the list; `run.is_first` tells rank 0, the only one that
may write. A callback may use collectives (`run.ranks`) because all ranks reach it together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from clapas.train.run import Run


class Callback:
    """Optional behaviour of a run. Override what you need."""

    def on_build(self, model: nn.Module) -> None:
        """When the model has its initial weights, before the optimizer and DeepSpeed see it."""

    def on_start(self, run: Run) -> None:
        """Before the first step of this segment."""

    def before_step(self, run: Run) -> None:
        """Before every step: `run.step` steps are done."""

    def before_update(self, run: Run) -> None:
        """When the gradients of a step are there, before the weights change."""

    def on_step(self, run: Run) -> None:
        """After every step: `run.last_step` tells of it."""

    def add_columns(self, run: Run, row: dict[str, Any]) -> None:
        """Before a step's row is written to metrics.jsonl: what else it should hold."""

    def on_log(self, run: Run, row: dict[str, Any]) -> None:
        """After a logged step, or an evaluation: `row` is what metrics.jsonl got."""

    def on_checkpoint(self, run: Run, path: Path) -> None:
        """After a checkpoint was committed."""

    def before_rollback(self, run: Run) -> None:
        """When a spike makes the run go back to its newest checkpoint, before that is looked for; `on_end` follows."""

    def on_end(self, run: Run) -> None:
        """After the last step of this segment, also after an error."""
