"""Where a step's time goes: seconds spent in named parts.

On a CPU they are the host's, without what was spent waiting in collectives, which is a part of its own. On a GPU the
host runs ahead, so what computes there is timed by CUDA events on the current stream; the events are read when the
times are asked for, which alone waits for the GPU. Collectives overlap there: what they hold up counts to the part
that waited.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from clapas.train.heartbeat import Heart

COMPUTING = ("forward", "backward", "optimizer")
"""The parts that run on the device, and inside which ranks may wait for each other."""
PENDING = 512
"""Pairs of events kept before those that are over are read: their number does not grow with `log_every`."""

Span = tuple[str, torch.cuda.Event, torch.cuda.Event]


class Clock:
    """Seconds by part since the last `take`.

    waited: this process's seconds in collectives so far; they count to "communication".
    annotate: whether the parts are named in a trace of torch.profiler. heart: is told of each part.
    """

    def __init__(self, device: torch.device, heart: Heart | None = None) -> None:
        self._heart = heart or Heart()
        self.waited: Callable[[], float] = _never
        self.annotate = False
        self._on_gpu = device.type == "cuda"
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._pending: deque[Span] = deque()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the block's time to a part."""
        timed = self._on_device(part) if self._on_gpu and part in COMPUTING else self._on_host(part)
        named = torch.profiler.record_function(part) if self.annotate else contextlib.nullcontext()
        around = self._heart.enter(part)
        try:
            with timed, named:
                yield
        finally:
            self._heart.enter(around)

    def take(self) -> dict[str, float]:
        """Seconds of each part, which begin anew. Waits for the GPU."""
        if self._pending:
            self._pending[-1][2].synchronize()
        self._read_events()
        taken = dict(self._seconds)
        self._seconds.clear()
        return taken

    @contextmanager
    def _on_host(self, part: str) -> Iterator[None]:
        begin, waits = time.perf_counter(), self.waited()
        try:
            yield
        finally:
            spent = time.perf_counter() - begin
            waited = self.waited() - waits if part in COMPUTING else 0.0
            self._seconds[part] += spent - waited
            self._seconds["communication"] += waited

    @contextmanager
    def _on_device(self, part: str) -> Iterator[None]:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        try:
            yield
        finally:
            end.record()
            self._pending.append((part, begin, end))
            if len(self._pending) > PENDING:
                self._read_events()

    def _read_events(self) -> None:
        """Count the parts that the GPU is done with: the first ones, for it works in order."""
        while self._pending and self._pending[0][2].query():
            part, begin, end = self._pending.popleft()
            self._seconds[part] += begin.elapsed_time(end) / 1000


def _never() -> float:
    return 0.0
