"""Kills without end, seeded: the writer at any of its system calls, and whole runs at any moment.

    python tests/faults/campaign.py [--kills 1000] [--runs 30] [--seed 0] [--data data/test]

The data are the test corpus, built as CONTRIBUTING.md says.

After each kill the newest sound checkpoint must be one that was written, bit for bit, and no older than the newest one
whose commit was reported; and whoever comes next must be able to go on. Prints what it counted; exits 1 on any loss.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from clapas.checkpoint.committed import committed_checkpoints
from clapas.checkpoint.format import Fragment, Snapshot
from clapas.checkpoint.host_copy import HostCopy
from clapas.checkpoint.reader import CheckpointReader, find_checkpoint, open_newest_sound
from clapas.checkpoint.retention import retain
from clapas.checkpoint.saving import Saving
from clapas.ledger.ledger import read_json_lines

CALLS = ("open", "write", "fsync", "close", "mkdir", "rename", "unlink", "rmdir", "ftruncate", "scandir", "stat")
"""What the writer asks of the system, by its names in `os`."""
ELEMENTS = 40_000
STEPS = 6
"""Of a run that is killed."""


class Pair:
    """Two forked ranks that tell each other by a socket. One that is gone ends the other, as gloo does."""

    def __init__(self, rank: int, line: socket.socket) -> None:
        self.rank, self.size, self._line = rank, 2, line

    def _exchange(self, value: Any) -> Any:
        self._line.sendall(pickle.dumps(value).ljust(512))
        answer = b""
        while len(answer) < 512:
            if not (more := self._line.recv(512 - len(answer))):
                raise EOFError("the other rank has gone")
            answer += more
        return pickle.loads(answer)

    def agree_on_error(self, error: str | None) -> str | None:
        """The error of either."""
        other = self._exchange(error)
        return error or other

    def all(self, flag: bool) -> bool:
        """Whether both bring True."""
        return self._exchange(flag) and flag

    def broadcast(self, text: str | None) -> str | None:
        """The first one's; of 500 bytes at most."""
        other = self._exchange(text if self.rank == 0 else None)
        return text if self.rank == 0 else other


def state_of(step: int) -> torch.Tensor:
    """The weights of a step."""
    return torch.randn(ELEMENTS, generator=torch.Generator().manual_seed(step))


def snapshot_of(step: int, rank: int) -> Snapshot:
    """A rank's half of a step's state, with a moment."""
    half = ELEMENTS // 2
    master = state_of(step)[rank * half : (rank + 1) * half]
    return Snapshot([Fragment("w", (ELEMENTS,), rank * half, {"master": master, "exp_avg": master * 2}, {})])


def save(checkpoints: Path, step: int, ranks: Pair) -> None:
    """As the training does: a copy, the writing beside it, the commit, and what is no longer kept."""
    facts = {"step": step, "identity": "", "execution": "", "training": {}, "recipe": {}, "versions": {}}
    saving = Saving(checkpoints, HostCopy().take(snapshot_of(step, ranks.rank)), facts, ranks)
    assert saving.is_done(wait=True)


def forked(checkpoints: Path, steps: list[int], before: Callable[[int], None]) -> tuple[list[int], int]:
    """Save `steps` in two forked ranks. before(rank): run in each first. (steps reported committed, kills)."""
    lines = socket.socketpair()
    read, written = os.pipe()
    children = []
    for rank in range(2):
        if not (child := os.fork()):
            lines[1 - rank].close()
            try:
                before(rank)
                ranks = Pair(rank, lines[rank])
                for step in steps:
                    save(checkpoints, step, ranks)
                    if rank == 0:
                        os.writev(written, [step.to_bytes(4)])  # not one of CALLS: reported the moment it is known
                        retain(checkpoints, keep=2)
            except BaseException:
                os._exit(1)
            os._exit(0)
        children.append(child)
    os.close(written)
    for line in lines:
        line.close()
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    reported = b""
    while more := os.read(read, 4096):
        reported += more
    os.close(read)
    done = [int.from_bytes(reported[at : at + 4]) for at in range(0, len(reported), 4)]
    return done, statuses.count(-signal.SIGKILL)


def killer(victim: int, count: int, when: str) -> Callable[[int], None]:
    """Has a rank killed before, after, or (a write) in the middle of its count-th system call."""

    def arm(rank: int) -> None:
        if rank != victim:
            return
        calls = 0

        def watched(original: Callable[..., Any], name: str) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls != count:
                    return original(*arguments, **named)
                if when == "after":
                    original(*arguments, **named)
                elif when == "within" and name == "write":
                    original(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
                raise AssertionError("unreachable")

            return call

        for name in CALLS:
            setattr(os, name, watched(getattr(os, name), name))

    return arm


def check(checkpoints: Path, reported: list[int], known: int) -> int:
    """The newest sound step. Raises AssertionError where it is not what was written, or older than is known."""
    reader, damaged = open_newest_sound(checkpoints)
    assert reader is not None, "no sound checkpoint is left"
    assert not damaged, f"a committed checkpoint is damaged: {damaged[0]}"
    assert reader.step >= max([known, *reported]), f"step {reader.step} after {reported} had been committed"
    for path in committed_checkpoints(checkpoints):
        state = CheckpointReader(path)
        assert torch.equal(state.tensor("w"), state_of(state.step))
        assert torch.equal(state.tensor("w", "exp_avg"), state_of(state.step) * 2)
    return reader.step


def kill_writers(kills: int, seed: int) -> Counter[str]:
    """Until so many ranks have been killed, in one folder that lives through all of it."""
    draw, counts = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="clapas-campaign-") as folder:
        checkpoints = Path(folder) / "checkpoints"
        forked(checkpoints, [1], lambda rank: None)
        newest = check(checkpoints, [1], 1)
        while counts["killed"] < kills:
            victim, count = draw.randrange(2), 1 + int(draw.random() ** 2 * 160)
            steps = [newest + 1, newest + 2]
            arm = killer(victim, count, when := draw.choice(("before", "after", "within")))
            reported, killed = forked(checkpoints, steps, arm)
            newest = check(checkpoints, reported, newest)
            counts["killed"] += killed
            counts[f"killed, rank {victim}, {when}"] += killed
            counts["went through"] += not killed
            counts[f"committed {len(reported)} of 2"] += 1
    return counts


def kill_runs(runs: int, seed: int, data: Path) -> Counter[str]:
    """Start a run of two ranks, kill all of it at a random moment, and start it again, until so many were killed.

    Each that ends is compared with one that was left alone: rows and state, bit for bit.
    """
    draw, counts = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="clapas-campaign-") as name:
        folder = Path(name)
        begin = time.monotonic()
        assert start(folder, "alone", data).wait() == 0, (folder / "alone.log").read_text()
        longest = time.monotonic() - begin
        wanted, number = content(folder / "alone"), 0
        while counts["killed"] < runs:
            number += 1
            while True:
                process = start(folder, f"run-{number}", data)
                try:
                    process.wait(draw.uniform(0.2, 1.1) * longest)
                    break
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    counts["killed"] += 1
            assert process.returncode == 0, (folder / f"run-{number}.log").read_text()[-2000:]
            assert content(folder / f"run-{number}") == wanted, f"run-{number} is not the one left alone"
            counts["ended as if never killed"] += 1
    return counts


def start(folder: Path, name: str, data: Path) -> subprocess.Popen[bytes]:
    """A run in a process group of its own."""
    overrides = [f"data.path={data}", f"run_dir={name}", f"train.steps={STEPS}", "schedule.warmup_steps=1"]
    overrides += [
        "checkpoint.every=1",
        "evaluation.every=100",
        "train.threads=1",
        "faults.crash_loop=null",
        "--nproc",
        "2",
    ]
    command = [sys.executable, "-m", "clapas", "train", "test", *overrides]
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, start_new_session=True, stdout=log, stderr=log)


def content(run: Path) -> tuple[Any, ...]:
    """What two equal runs share: their rows, but for times, and the files of their last checkpoint."""
    rows = [(row["step"], row["loss"], row.get("grad_norm")) for row in read_json_lines(run / "metrics.jsonl")]
    manifest = CheckpointReader(find_checkpoint(run)).manifest
    return rows, manifest.files, manifest.training


def main() -> None:
    """Run both, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="of writers")
    parser.add_argument("--runs", type=int, default=30, help="kills of whole runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("data/test"), help="the test corpus")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = kill_writers(options.kills, options.seed)
    if options.runs:
        found += kill_runs(options.runs, options.seed, options.data.absolute())
    for what, count in sorted(found.items()):
        print(f"{count:6,} {what}")


if __name__ == "__main__":
    main()
