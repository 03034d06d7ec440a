"""Work shared among processes, results in order, nobody left behind.

Processes rather than threads: parsing and cleaning text is Python. They are spawned, so nothing of the caller's state
(threads, CUDA, locks) comes with them. Each holds one end of a pipe, the lifeline: it ends when the caller lets go
of it or dies, however it dies.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TypeVar

from clapas.recipe.errors import ClapasError, UserError

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 2
"""Tasks given out beyond those at work, a worker: bounds the memory that waiting results take."""


class Workers:
    """`count` processes, started when first needed; with one worker the work is done right here.

    with Workers(4) as workers:
        for result in workers.map(function, tasks): ...
    """

    def __init__(self, count: int | None = None) -> None:
        if count is not None and count < 1:
            raise UserError("too few worker processes", where="--workers", found=count, wanted="at least 1")
        self.count = count or _cores()
        self._executor: ProcessPoolExecutor | None = None
        self._lifeline: Connection | None = None

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """`function` of each task, in the tasks' order. Raises what it raises; ClapasError where a process died."""
        if self.count == 1:
            yield from map(function, tasks)
            return
        executor = self._start()
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                with _interrupt_withheld():
                    waiting.append(executor.submit(function, task))
                if len(waiting) >= self.count * (1 + AHEAD):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ClapasError(
                "a worker process died", way_out="out of memory? run it again with fewer: --workers 1"
            ) from None

    def _start(self) -> ProcessPoolExecutor:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            theirs, self._lifeline = context.Pipe(duplex=False)
            self._executor = ProcessPoolExecutor(self.count, context, initializer=_begin, initargs=(theirs,))
        return self._executor

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.stop()
        elif self._executor is not None and self._lifeline is not None:
            self._executor.shutdown()
            self._lifeline.close()
            self._executor = None

    def stop(self) -> None:
        """End the processes at once, in the middle of their work; returns when they have ended."""
        if self._executor is not None and self._lifeline is not None:
            self._lifeline.close()
            self._executor.shutdown(cancel_futures=True)
            self._executor = None


def _cores() -> int:
    """The cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _interrupt_withheld() -> Iterator[None]:
    """Ctrl-C is the caller's to handle: it comes after the block, and never to the processes that the block starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(lifeline: Connection) -> None:
    os.environ["RAYON_NUM_THREADS"] = "1"  # fastokens and tokenizers: one thread a process
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
