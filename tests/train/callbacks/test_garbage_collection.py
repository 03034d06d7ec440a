"""The collector is off in the loop, collects at given steps, and is left as it was."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

from clapas.train.callbacks.garbage_collection import COLLECT_EVERY, GarbageCollection


class Cycle:
    """What only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


def at(step: int) -> Any:
    """A run at a step: all that the callback asks of it."""
    return SimpleNamespace(step=step)


def test_garbage_is_collected_at_given_steps_alone() -> None:
    """A cycle outlives other steps, whatever is allocated in between, and not that one."""
    callback = GarbageCollection()
    callback.on_start(at(0))
    try:
        gone = weakref.ref(Cycle())
        _ = [[] for _ in range(100_000)]  # would set off a collection
        callback.on_step(at(COLLECT_EVERY - 1))
        assert gone() is not None
        callback.on_step(at(COLLECT_EVERY))
        assert gone() is None
        assert not gc.isenabled()
    finally:
        callback.on_end(at(COLLECT_EVERY))
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
