"""What one rank is doing, and when it last got on: what its watchdog looks at.

A beat is progress: a part of a step begun or ended, a collective ended, a batch scored, a piece of a checkpoint
written. Times are of the monotonic clock: setting the wall clock is no stall.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from clapas.train.waits import CollectiveWaits

BETWEEN = "between the parts of a step"


class Heart:
    """Beats of this rank.

    step: the one under way. part: of the step (see `train.clock`). count: beats so far.
    """

    def __init__(self) -> None:
        self.step, self.part, self.count = 0, BETWEEN, 0
        self._last = time.monotonic()
        self._waits = CollectiveWaits(after=self.beat)

    def open(self) -> None:
        """Watch this process's collectives."""
        self._waits.open()
        self.beat()

    def close(self) -> None:
        """Leave them alone again."""
        self._waits.close()

    @property
    def idle(self) -> float:
        """Seconds since this rank last got on, or was excused."""
        return time.monotonic() - self._last

    @property
    def waits_for_others(self) -> bool:
        """Whether it is inside a collective, as far as the host waits there."""
        return self._waits.is_waiting

    def beat(self) -> None:
        """This rank gets on."""
        self.count += 1
        self._last = time.monotonic()

    def beat_in(self, part: str) -> Callable[[], None]:
        """A beat that counts only in one part: work of another thread, for which the loop waits there."""
        return lambda: self.beat() if self.part == part else None

    def excuse(self) -> None:
        """It did not get on, but it waits for others who do."""
        self._last = time.monotonic()

    def enter(self, part: str) -> str:
        """A part begins. Returns the one around it, to `enter` again at its end."""
        before, self.part = self.part, part
        self.beat()
        return before

    def beside(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with a beat before each call."""

        def call(*arguments: Any, **named: Any) -> Any:
            self.beat()
            return function(*arguments, **named)

        return call
