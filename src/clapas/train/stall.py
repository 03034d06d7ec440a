"""A stall in words: which rank, where, and who is the cause."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Sign(NamedTuple):
    """What a rank shows the others of itself, from time to time.

    number: of the sign. beats: how often it got on. waits: for others, inside a collective. idle: seconds since it
    got on, when it showed this.
    """

    number: int
    beats: int
    step: int
    part: str
    waits: bool
    idle: float


class Cause(NamedTuple):
    """Why this rank does not get on. ranks: which have caused it."""

    ranks: Sequence[int]
    why: str


def find_cause(ranks: Iterable[int], before: Mapping[int, Sign], now: Mapping[int, Sign]) -> Cause | None:
    """Why a rank waits in vain for `ranks`, the others; None where one of them still gets on, so that it may wait.

    before, now: what they have shown a good while ago and just now; nothing of those that have never shown any.
    """
    others = list(ranks)
    silent = [rank for rank in others if rank not in now or _number(now, rank) == _number(before, rank)]
    if silent:
        return Cause(silent, "no sign of life: it was stopped, its machine has gone, or C code holds its interpreter")
    if any(now[rank].beats != before[rank].beats for rank in others if rank in before):
        return None
    if stalled := [rank for rank in others if not now[rank].waits]:
        return Cause(stalled, "it does not get on, and waits for no other")
    return Cause([], "every rank waits for another: they are in collectives that do not belong together")


def describe(rank: int, own: Sign, allowed: float, cause: Cause | None, seen: Mapping[int, Sign], on_gpu: bool) -> str:
    """The message. cause: None where it is this rank itself. seen: what the other ranks have shown."""
    lines = [
        f"clapas: rank {rank} stalled at step {own.step}: no progress in {own.idle:.1f} s "
        f"(at most {allowed:g}: faults.stall_seconds)",
        f"  where:   {socket.gethostname()}, pid {os.getpid()}, in {own.part!r}, at {main_frame()}",
    ]
    if cause is None:
        lines.append(f"  cause:   rank {rank} itself: it waits for no other; its stacks are below")
        if on_gpu:
            lines.append("           or its GPU, inside a collective: then the dumps nccl-trace-* name the rank")
    else:
        named = ", ".join(f"rank {number}" for number in cause.ranks)
        lines.append(f"  cause:   {named + ': ' if named else ''}{cause.why}; this rank waits for others")
    for number in cause.ranks if cause and cause.ranks else sorted(seen):
        if number in seen:
            sign = seen[number]
            doing = "waiting for others in" if sign.waits else "in"
            lines.append(f"           rank {number} was last seen at step {sign.step}, {doing} {sign.part!r}")
    lines.append("  way out: start again, and the run goes on after its last checkpoint; a slow step: raise the limit")
    return "\n".join(lines) + "\n"


def main_frame() -> str:
    """The line at which this process's main thread is. Reads no file: the file system may be what hangs."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return "an unknown line" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _number(signs: Mapping[int, Sign], rank: int) -> int:
    return signs[rank].number if rank in signs else 0
