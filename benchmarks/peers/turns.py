"""How a side trains in turn: it waits on its standard input, trains a block of steps, and says how long that took.

The benchmark writes a number of steps, and reads the seconds; no two sides ever train at once, and none sleeps. What
the side's libraries print goes to standard error. When the input ends, so does the process, at once: how a side shuts
down is not measured.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


class Turns:
    """Call `step_done` after every optimizer step, and `wait` once before the first."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._left = 0
        self._begin = 0.0

    def wait(self) -> None:
        """Until it is this side's turn."""
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        self._left = int(line)
        self._begin = time.perf_counter()

    def step_done(self, **facts: Any) -> None:
        """Count a step; at the block's end answer, with what else there is to tell, and wait for the next turn."""
        self._left -= 1
        if self._left:
            return
        seconds = time.perf_counter() - self._begin
        self._answers.write(json.dumps({"seconds": seconds, **facts}) + "\n")
        self._answers.flush()
        self.wait()
