"""Live progress on a terminal, a line from time to time in a log file. Both go to stderr."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clapas.train.callbacks.base import Callback

if TYPE_CHECKING:
    from clapas.train.run import Run

PLAIN_LINE_SECONDS = 10.0
"""Time between two progress lines where stderr is a file and not a terminal."""


class ProgressDisplay(Callback):
    """Live progress on a terminal, a line from time to time in a log file. Both go to stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._last_line = 0.0

    def on_start(self, run: Run) -> None:
        """Say what is about to be trained."""
        if not run.is_first:
            return
        self._console.print(run.headline(), highlight=False)
        if self._console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self._progress = Progress(*columns, console=self._console, transient=False)
            self._progress.add_task("", total=run.recipe.total_steps, completed=run.step)
            self._progress.start()

    def on_log(self, run: Run, row: dict[str, Any]) -> None:
        """Show a step."""
        if not run.is_first:
            return
        text = describe(row)
        if self._progress is not None:
            if "split" in row:
                self._progress.console.print(f"step {row['step']}: {text}", highlight=False)
            else:
                self._progress.update(self._progress.task_ids[0], completed=row["step"], description=text)
            return
        now = time.monotonic()
        last = row["step"] == run.recipe.total_steps
        if "split" in row or last or now - self._last_line >= PLAIN_LINE_SECONDS:
            if "split" not in row:
                self._last_line = now
            remaining = (run.recipe.total_steps - row["step"]) * run.seconds_per_step
            eta = f", {_duration(remaining)} left" if remaining else ""
            self._console.print(
                f"step {row['step']}/{run.recipe.total_steps}: {text}{eta}", highlight=False, soft_wrap=True
            )

    def on_end(self, run: Run) -> None:
        """Give the terminal back."""
        if self._progress is not None:
            self._progress.stop()


def describe(row: dict[str, Any]) -> str:
    """A metrics row in a few words."""
    if "split" in row:
        bits = "" if row["bits_per_byte"] is None else f", {row['bits_per_byte']:.4f} bits per byte"
        return f"{row['split']} loss {row['loss']:.4f}{bits}"
    mfu = "" if row["mfu"] is None else f", MFU {row['mfu']:.0%}"
    gradient = "overflow, step skipped" if row["grad_norm"] is None else f"gradient {row['grad_norm']:.2f}"
    return (
        f"loss {row['loss']:.4f}, {gradient}, lr {row['learning_rate']:.2e}, "
        f"{row['tokens_per_second']:,.0f} tokens/s{mfu}"
    )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
