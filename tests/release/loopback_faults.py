"""What can befall a call to a loopback Hub: each fault strikes the next so many calls that it fits."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["status", "cut request", "cut answer", "lose answer", "corrupt", "stale", "call"]


@dataclass
class Fault:
    """A fault. call: regular expression that `METHOD /path` must match from its beginning. times: how often it strikes.
    after: how many calls that fit pass first.

    status: answer with that status and these headers. cut request: read half of the body, then close the connection.
    cut answer: send half of the body, then close. lose answer: do what is asked, then close without a word. corrupt:
    store a flipped byte. stale: answer as if the last change had not been. call: go on. then: called by `cut request`
    and `lose answer` before they close, by `call` before it goes on.
    """

    call: str
    kind: Kind
    times: int = 1
    after: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    then: Callable[[], object] = lambda: None


class Faults:
    """The faults that wait for their call; those that struck are counted."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []
        self.struck = 0
        self._lock = threading.Lock()

    def add(self, call: str, kind: Kind, **facts: object) -> None:
        """Have a fault wait; `facts` as in `Fault`."""
        self.waiting.append(Fault(call, kind, **facts))  # pyright: ignore[reportArgumentType]

    def of(self, call: str) -> Fault | None:
        """The fault that strikes this call, if any."""
        with self._lock:
            for fault in self.waiting:
                if not re.match(fault.call, call):
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                if not fault.times:
                    self.waiting.remove(fault)
                self.struck += 1
                return fault
        return None
