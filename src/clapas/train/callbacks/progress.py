"""Live figures on a terminal, a line from time to time in a log file. Both go to stderr."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from clapas.train.callbacks.base import Callback

if TYPE_CHECKING:
    from clapas.train.run import Run

PLAIN_LINE_SECONDS = 10.0
"""Time between two progress lines where stderr is a file and not a terminal."""
COLOURS = {
    "data": "yellow",
    "forward": "cyan",
    "backward": "blue",
    "optimizer": "magenta",
    "communication": "red",
    "other": "bright_black",
}
SPLIT_WIDTH = 48  # characters of the bar that shows where a step's time goes


class ProgressDisplay(Callback):
    """Figures that are drawn anew on a terminal; lines in a log file. Rank 0 only."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live: LiveFigures | None = None
        self._last_line = 0.0

    def on_start(self, run: Run) -> None:
        """Say what is about to be trained."""
        if not run.is_first:
            return
        self._console.print(run.headline(), highlight=False)
        if self._console.is_terminal:
            self._live = LiveFigures(self._console, run.recipe.total_steps, run.step)

    def on_log(self, run: Run, row: dict[str, Any]) -> None:
        """Show a step."""
        if not run.is_first:
            return
        if self._live is not None:
            self._live.show(row)
            return
        now = time.monotonic()
        last = row["step"] == run.recipe.total_steps
        if "split" in row or last or now - self._last_line >= PLAIN_LINE_SECONDS:
            if "split" not in row:
                self._last_line = now
            remaining = (run.recipe.total_steps - row["step"]) * run.seconds_per_step
            eta = f", {_duration(remaining)} left" if remaining else ""
            line = f"step {row['step']}/{run.recipe.total_steps}: {describe(row)}{eta}"
            self._console.print(line, highlight=False, soft_wrap=True)

    def on_end(self, run: Run) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.close()


class LiveFigures:
    """The last rows' figures under a progress bar. Validations stay above it, as lines."""

    def __init__(self, console: Console, total_steps: int, step: int) -> None:
        self._console = console
        columns = TextColumn("step"), MofNCompleteColumn(), BarColumn(bar_width=SPLIT_WIDTH), TimeRemainingColumn()
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("", total=total_steps, completed=step)
        self._live = Live(self._progress, console=console, refresh_per_second=4)
        self._live.start()

    def show(self, row: dict[str, Any]) -> None:
        """Draw a row."""
        if "split" in row:
            self._console.print(f"step {row['step']}: {describe(row)}", highlight=False)
            return
        self._progress.update(self._task, completed=row["step"])
        self._live.update(Group(figures(row), self._progress))

    def close(self) -> None:
        """Leave the last figures on the screen."""
        self._live.stop()


def figures(row: dict[str, Any]) -> RenderableType:
    """A row as a small table: what is learned, how fast, and where the time goes."""
    table = Table.grid(padding=(0, 2))
    gradient = "overflow" if row["grad_norm"] is None else f"{row['grad_norm']:.3f}"
    memory = row.get("memory_reserved_bytes")
    table.add_row(*_pair("loss", f"{row['loss']:.4f}"), *_pair("gradient", gradient),
                  *_pair("learning rate", f"{row['learning_rate']:.2e}"))  # fmt: skip
    table.add_row(*_pair("tokens/s", f"{row['tokens_per_second']:,.0f}"), *_pair("MFU", _share(row.get("mfu"))),
                  *_pair("memory", "" if memory is None else f"{memory / 1e9:,.1f} GB"))  # fmt: skip
    seconds = {part: row.get(f"time/{part}") or 0.0 for part in COLOURS}
    if not (total := sum(seconds.values())):
        return table
    bar, legend = Text(), Text()
    for part, spent in seconds.items():
        bar.append("█" * round(SPLIT_WIDTH * spent / total), style=COLOURS[part])
        if spent >= total / 100:
            legend.append(f"{part} {spent / total:.0%}  ", style=COLOURS[part])
    return Group(table, bar, legend)


def _pair(name: str, value: str) -> tuple[Text, Text]:
    return Text(name, style="bright_black"), Text(value, style="bold", justify="right")


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


BESIDE_FIGURES = ("step", "split", "segment")
"""What a row of tasks has beside their figures."""
OF_A_SPLIT = {
    "bits_per_byte": "{:.4f} bits per byte",
    "accuracy": "{:.1%} of tokens right",
    "rewards/accuracies": "{:.0%} of pairs the right way round",
    "rewards/margins": "margin {:.3f}",
}
"""What is said of a validation row, where it has it."""


def describe(row: dict[str, Any]) -> str:
    """A metrics row in a few words."""
    if "split" in row and "loss" not in row:  # tasks: a figure each
        figures = {name: value for name, value in row.items() if name not in BESIDE_FIGURES}
        return ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    if "split" in row:
        found = [f"{row['split']} loss {row['loss']:.4f}"]
        found += [form.format(row[key]) for key, form in OF_A_SPLIT.items() if row.get(key) is not None]
        return ", ".join(found)
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
