"""A counter of joules that only grows, until it wraps around."""

from __future__ import annotations

from collections.abc import Callable


class Counter:
    """Joules since this object was made.

    read: the counter's present value in joules. wraps_at: where it begins again at 0; None: it does not. Must be read
    at least once between two wraps. Where a counter went backwards that does not wrap, its driver was restarted: the
    interval in which that happened is lost, and counts 0.
    """

    def __init__(self, read: Callable[[], float], wraps_at: float | None = None) -> None:
        self._read, self._wraps_at = read, wraps_at
        self._last = read()
        self._sum = 0.0

    def joules(self) -> float:
        """Joules so far. Raises OSError or ValueError where the counter cannot be read any more."""
        now = self._read()
        grown = now - self._last
        if grown < 0:
            grown = max(0.0, grown + (self._wraps_at or 0.0))
        self._last = now
        self._sum += grown
        return self._sum
