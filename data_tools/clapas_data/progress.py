"""Progress on stderr: a bar where someone looks, one line at the end where nobody does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, total: int, unit: str = "part", units: str = "parts") -> Iterator[Callable[[int], None]]:
    """Show work on `total` units of `unit` ("MB" counts bytes); yields the function that advances it."""
    began = time.monotonic()
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(what, total=total)
            yield lambda amount: bars.advance(task, amount)
    else:
        yield lambda amount: None
    seconds = time.monotonic() - began
    amount = f"{total / 1e6:.1f} MB" if unit == "MB" else f"{total} {unit if total == 1 else units}"
    print(f"{what}: {amount} in {seconds:.1f} s", file=sys.stderr)
