"""How long this process waits in collectives, as far as the host waits: all of it on a CPU, little of it on a GPU.

Every collective of torch.distributed, DeepSpeed's included, hands out a `Work` and waits for it: one method to watch
instead of a wrapper around each function, which DeepSpeed would have kept from before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from torch._C._distributed_c10d import Work


class CollectiveWaits:
    """Counts while it is open. seconds: waited so far. count: how often. Several may be open, the last closed first.

    after: called at the end of each wait that did not fail.
    """

    def __init__(self, after: Callable[[], None] = lambda: None) -> None:
        self.seconds, self.count = 0.0, 0
        self._after, self._wait = after, Work.wait
        self._waiting: set[int] = set()  # threads: on a GPU the backward has one of its own

    @property
    def is_waiting(self) -> bool:
        """Whether a collective is waited for at this moment."""
        return bool(self._waiting)

    def open(self) -> CollectiveWaits:
        """Watch `Work.wait` in this process."""
        wait = self._wait = Work.wait

        def watched(work: Work, *arguments: Any, **named: Any) -> Any:
            begin, thread = time.perf_counter(), threading.get_ident()
            self._waiting.add(thread)
            try:
                result = wait(work, *arguments, **named)
                self._after()
                return result
            finally:
                self._waiting.discard(thread)
                self.seconds += time.perf_counter() - begin
                self.count += 1

        Work.wait = watched  # pyright: ignore[reportAttributeAccessIssue] a class of C++ that Python may extend
        return self

    def close(self) -> None:
        """Leave `Work.wait` as it was."""
        Work.wait = self._wait
