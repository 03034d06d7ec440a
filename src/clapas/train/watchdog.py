"""A rank that no longer gets on is found, named, and ends the run: otherwise all others wait until the time limit.

One thread watches this rank's heart. It does no input or output until it has found a stall, so that a file system that
hangs does not hang it too; another shows the rank's signs to the others, as a small file in the segment's folder. A
rank that waits for no other is the cause of its own stall and says so. One that waits in a collective asks the signs:
while another rank gets on it waits, else it names the cause. faulthandler, which needs no interpreter, stands behind
both: it ends a rank whose interpreter is held by a call of C.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from clapas.engine.flight_recorder import dump_collectives
from clapas.engine.ranks import wait_without_end
from clapas.recipe.errors import EXIT_FAILED
from clapas.train.heartbeat import Heart
from clapas.train.stall import Cause, Sign, describe, find_cause

if TYPE_CHECKING:
    from clapas.train.run import Run

FIRST_STEP = 3.0
"""How much more time the first step of a start has: it may compile."""
TICKS = 20
"""How often the heart is looked at in the time that a rank may take."""
SIGNS = 8
"""How often a rank shows the others a sign in that time: several before it is half over."""
NO_STDERR = (OSError, ValueError, RuntimeError, AttributeError)
"""What faulthandler raises where stderr is no file: in a notebook."""
CLOSE_SECONDS = 5.0
"""How long to wait for the threads at the end: a file system that hangs may hold one."""
LAST_WORDS_SECONDS = 10.0
"""How long the evidence may take to be written, before the process ends without it."""


@contextmanager
def watched(run: Run) -> Iterator[None]:
    """Watch over a run while it trains, if its recipe wants that. Collective."""
    seconds = run.recipe.faults.stall_seconds
    if seconds is None:
        yield
        return
    name = run.ranks.broadcast(str(run.folder.segment) if run.folder else None)
    folder = run.recipe.folder / "segments" / f"{int(name or 0):03d}"
    wait_without_end()
    run.heart.open()
    watchdog = Watchdog(run, folder, seconds)
    try:
        yield
    finally:
        watchdog.close()
        run.heart.close()


class Watchdog:
    """The threads of one rank. folder: where all ranks of this segment show their signs."""

    def __init__(self, run: Run, folder: Path, seconds: float) -> None:
        self._run, self._heart, self._folder, self._seconds = run, run.heart, folder, seconds
        self._signs = Signs(folder / "heartbeats", run.ranks.rank, run.ranks.size, run.heart)
        self._first_step = run.step + 1
        self._before: dict[int, Sign] | None = None
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._watch, name="watchdog", daemon=True)]
        if run.ranks.size > 1:
            self._threads.append(threading.Thread(target=self._show, name="heartbeat", daemon=True))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Watch no longer.

        The threads end first: one that lets go of the run while the interpreter ends would free tensors without its
        lock, which aborts the process ("terminate called without an active exception").
        """
        self._closed.set()
        faulthandler.cancel_dump_traceback_later()
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)

    @property
    def _allowed(self) -> float:
        return self._seconds * (FIRST_STEP if self._heart.step <= self._first_step else 1.0)

    def _watch(self) -> None:
        while not self._closed.wait(self._seconds / TICKS):
            with contextlib.suppress(*NO_STDERR):
                faulthandler.dump_traceback_later(self._allowed, exit=True, file=sys.__stderr__ or sys.stderr)
            self._look()
        faulthandler.cancel_dump_traceback_later()

    def _show(self) -> None:
        while not self._closed.wait(self._seconds / SIGNS):
            self._signs.show()

    def _look(self) -> None:
        """End the run where this rank does not get on, by its own fault or another's."""
        idle, allowed = self._heart.idle, self._allowed
        if not self._heart.waits_for_others:
            if idle >= allowed:
                self._end(None, {})
        elif idle < allowed / 2:
            self._before = None
        elif self._before is None:
            self._before = self._signs.read()
        elif idle >= allowed + 2 * self._seconds / TICKS:  # whoever is the cause has spoken by now
            seen = self._signs.read()
            cause = find_cause(self._signs.others, self._before, seen)
            self._before = None
            if cause is None:
                self._heart.excuse()
            else:
                self._end(cause, seen)

    def _end(self, cause: Cause | None, seen: dict[int, Sign]) -> None:
        """Say all that is known, on stderr first, and end this process; the launcher ends the others."""
        run, own = self._run, self._signs.own()
        text = describe(run.ranks.rank, own, self._allowed, cause, seen, run.ranks.device.type == "cuda")
        with contextlib.suppress(*NO_STDERR):
            sys.stderr.write(text)
            sys.stderr.flush()
            faulthandler.dump_traceback(sys.__stderr__ or sys.stderr, all_threads=True)
        within(LAST_WORDS_SECONDS, lambda: self._write(text))
        within(LAST_WORDS_SECONDS, lambda: self._record(own, cause))
        if run.ranks.device.type == "cuda":
            trace = self._folder / f"nccl-trace-{run.ranks.rank}"
            within(LAST_WORDS_SECONDS, lambda: dump_collectives(trace))
        os._exit(EXIT_FAILED)

    def _write(self, text: str) -> None:
        with (self._folder / f"stall-rank-{self._run.ranks.rank}.txt").open("w") as file:
            file.write(text)
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)

    def _record(self, own: Sign, cause: Cause | None) -> None:
        run = self._run
        ranks = [run.ranks.rank] if cause is None else list(cause.ranks)
        run.record("stalled", step=own.step, part=own.part, ranks=ranks, totals=run.totals())
        if run.folder:
            run.folder.end_segment(EXIT_FAILED, f"stalled at step {own.step}", run.step)


class Signs:
    """What the ranks show each other: RUN/segments/NNN/heartbeats/R.json, written anew each time."""

    def __init__(self, folder: Path, rank: int, size: int, heart: Heart) -> None:
        self.others = [number for number in range(size) if number != rank]
        self._folder, self._rank, self._heart = folder, rank, heart
        self._number = 0

    def own(self) -> Sign:
        """This rank's, now."""
        heart = self._heart
        return Sign(self._number, heart.count, heart.step, heart.part, heart.waits_for_others, heart.idle)

    def show(self) -> None:
        """Write it. A full disk is no stall: then the others see none, and those that wait in vain say so."""
        self._number += 1
        path = self._folder / f"{self._rank}.json"
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".new").write_bytes(orjson.dumps(tuple(self.own())))
            path.with_suffix(".new").replace(path)

    def read(self) -> dict[int, Sign]:
        """Those of the others that there are."""
        found = {}
        for rank in self.others:
            with contextlib.suppress(OSError, ValueError):
                found[rank] = Sign(*orjson.loads((self._folder / f"{rank}.json").read_bytes()))
        return found


def within(seconds: float, work: Callable[[], object]) -> None:
    """Do something that may hang, in a thread that is left behind if it does, and may fail."""

    def quietly() -> None:
        with contextlib.suppress(Exception):
            work()

    thread = threading.Thread(target=quietly, name="last words", daemon=True)
    thread.start()
    thread.join(seconds)
