"""TensorBoard as a sink of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clapas.recipe.errors import UserError
from clapas.train.callbacks.base import Callback
from clapas.train.telemetry.columns import numbers

if TYPE_CHECKING:
    from clapas.train.run import Run


class TensorBoardLogger(Callback):
    """Writes every number of a row to RUN/tensorboard/. Rank 0 only."""

    def __init__(self) -> None:
        self._writer: Any = None

    def on_start(self, run: Run) -> None:
        """Open an event file, which drops what this segment repeats. Raises UserError without the package."""
        if not run.is_first:
            return
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            raise UserError(
                "telemetry.tensorboard needs the tensorboard package", way_out="pip install 'clapas[tensorboard]'"
            ) from None
        self._writer = SummaryWriter(str(run.recipe.folder / "tensorboard"), purge_step=run.step + 1)
        self._writer.add_text("recipe", f"```yaml\n{run.recipe.to_yaml()}```", run.step)

    def on_log(self, run: Run, row: dict[str, Any]) -> None:
        """Write a row's numbers."""
        if self._writer is not None:
            for name, value in numbers(row).items():
                self._writer.add_scalar(name, value, row["step"])

    def on_end(self, run: Run) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
