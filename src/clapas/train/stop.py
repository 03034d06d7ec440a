"""Stopping early without losing anything: a signal asks, the ranks agree, the run saves and exits 75.

SIGTERM and SIGUSR1 are how schedulers announce the end; SIGINT is Ctrl-C. The first asks for a stop after the step
under way; a second Ctrl-C stops at once and saves nothing (exit 130).
"""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """Set by a signal in this process; the training loop asks all ranks before it acts on it."""

    def __init__(self) -> None:
        self.signal: str | None = None
        self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == "SIGINT":
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name

    @property
    def requested(self) -> bool:
        """Whether this process was asked to stop."""
        return self.signal is not None

    def close(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
