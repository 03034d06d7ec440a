"""A callback of your own: stop when the loss has not improved for a while, and say so in the metrics.

python examples/own_callback.py data.path=data/test [key.sub=value ...]
"""

import sys
from typing import Any

import clapas


class EarlyStop(clapas.Callback):
    """Asks for a stop after `patience` logged steps without a better loss: the run saves and exits 75."""

    def __init__(self, patience: int) -> None:
        self.patience, self.best, self.since = patience, float("inf"), 0

    def add_columns(self, run: clapas.Run, row: dict[str, Any]) -> None:
        """Called on every rank with equal values, so all ranks decide alike."""
        self.since = 0 if row["loss"] < self.best else self.since + 1
        self.best = min(self.best, row["loss"])
        row["best_loss"] = self.best

    def on_step(self, run: clapas.Run) -> None:
        """`stopping` ends the loop after this step, once validation and checkpoint are done."""
        run.stopping = run.stopping or self.since >= self.patience


recipe = clapas.read_recipe("test", ["run_dir=runs/early-stop", *sys.argv[1:]])
print("exit code", clapas.train(recipe, callbacks=[EarlyStop(patience=5)]))
