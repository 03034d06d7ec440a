"""Python's garbage collector, at steps instead of at any time.

Left alone, the collector of each rank stops it at a moment of its own, and every time all others wait. So it is off in
the loop, and all ranks collect the young objects after the same step (as torchtitan does).
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from clapas.train.callbacks.base import Callback

if TYPE_CHECKING:
    from clapas.train.run import Run

COLLECT_EVERY = 50  # steps: seldom enough to cost nothing, often enough that cycles do not hold memory
YOUNG = 1  # generations 0 and 1: what was made since the last collection


class GarbageCollection(Callback):
    """Turns automatic collection off between start and end, and collects every COLLECT_EVERY steps."""

    def __init__(self) -> None:
        self._was_on = False

    def on_start(self, run: Run) -> None:
        """What was built until here lives as long as the run: the collector need not look at it again."""
        self._was_on = gc.isenabled()
        gc.collect()
        gc.freeze()
        gc.disable()

    def on_step(self, run: Run) -> None:
        """Collect where it is time."""
        if run.step % COLLECT_EVERY == 0:
            gc.collect(YOUNG)

    def on_end(self, run: Run) -> None:
        """Leave the collector as it was."""
        if self._was_on:
            gc.unfreeze()
            gc.enable()
