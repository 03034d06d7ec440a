"""How long this process waits in collectives, as far as the host waits: all of it on a CPU, little of it on a GPU.

Every collective of torch.distributed, DeepSpeed's included, hands out a `Work` and waits for it: one method to watch
instead of a wrapper around each function, which DeepSpeed would have kept from before.
"""

from __future__ import annotations

import time
from typing import Any

from torch._C._distributed_c10d import Work


class CollectiveWaits:
    """Counts while it is open. seconds: waited so far. count: how often."""

    def __init__(self) -> None:
        self.seconds, self.count = 0.0, 0
        self._wait = Work.wait

    def open(self) -> CollectiveWaits:
        """Watch `Work.wait` in this process."""
        wait = self._wait

        def watched(work: Work, *arguments: Any, **named: Any) -> Any:
            begin = time.perf_counter()
            try:
                return wait(work, *arguments, **named)
            finally:
                self.seconds += time.perf_counter() - begin
                self.count += 1

        Work.wait = watched  # pyright: ignore[reportAttributeAccessIssue] a class of C++ that Python may extend
        return self

    def close(self) -> None:
        """Leave `Work.wait` as it was."""
        Work.wait = self._wait
