"""Where a step's time goes: seconds spent in named parts, as the host sees them.

On a GPU the host runs ahead: its seconds say when work was queued, not when it was done.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds by part since the last `take`."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the block's time to a part."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - begin

    def take(self) -> dict[str, float]:
        """Seconds of each part, which begin anew."""
        taken = dict(self._seconds)
        self._seconds.clear()
        return taken
