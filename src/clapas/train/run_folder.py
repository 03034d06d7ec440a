"""The folder of a run: who may write it, its segments, its metrics, how it ended. Rank 0 alone holds it.

RUN/recipe.yaml         the recipe as resolved, with the run's hashes
RUN/ledger.jsonl        evidence, append-only
RUN/metrics.jsonl       one line a logged step
RUN/segments/NNN/       deepspeed.json, environment.json: what each start of the command ran with
RUN/checkpoints/        see checkpoint.format
RUN/outcome.json        how the last segment ended
"""

from __future__ import annotations

import os
import platform
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from clapas.ledger.ledger import Ledger, read_json_lines
from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.line_log import LineLog
from clapas.recipe.locks import take_lock
from clapas.recipe.recipe import Recipe
from clapas.recipe.typed import read_typed

PACKAGES = ("clapas", "torch", "deepspeed", "numpy", "safetensors", "tokenizers", "fastokens", "triton")


class RunFolder:
    """A run's folder, locked for this process. Raises UserError where another process trains in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "segments").mkdir(parents=True, exist_ok=True)
        self._lock = _lock(path / ".lock")
        self.segment = 1 + max((int(p.name) for p in (path / "segments").iterdir() if p.name.isdigit()), default=0)
        self.ledger = Ledger(path)
        self.has_ended = False

    @property
    def segment_folder(self) -> Path:
        """What this start of the command ran with."""
        return self.path / "segments" / f"{self.segment:03d}"

    def begin_segment(self, recipe: Recipe, hashes: dict[str, str], deepspeed: dict[str, Any], ranks: int) -> None:
        """Write down what this segment runs with; how the one before ended is forgotten."""
        (self.path / "outcome.json").unlink(missing_ok=True)
        header = "".join(f"# {name}: {value}\n" for name, value in hashes.items())
        atomic_write(self.path / "recipe.yaml", header + recipe.to_yaml())
        self.segment_folder.mkdir(parents=True)
        atomic_write(self.segment_folder / "recipe.yaml", header + recipe.to_yaml())
        atomic_write(self.segment_folder / "deepspeed.json", _pretty({"hashes": hashes, "deepspeed": deepspeed}))
        atomic_write(self.segment_folder / "environment.json", _pretty(environment(ranks)))

    def end_segment(self, exit_code: int, reason: str, step: int) -> None:
        """Write `outcome.json`, which launchers read: torchrun and srun hide exit codes."""
        self.has_ended = True
        outcome = {"exit_code": exit_code, "reason": reason, "step": step, "segment": self.segment}
        atomic_write(self.path / "outcome.json", _pretty(outcome))

    def close(self) -> None:
        """Let others train here."""
        os.close(self._lock)


def leave_refusal(run: Path, error: UserError) -> None:
    """Say in `outcome.json` why ranks did not begin, for the launcher that waits for it. Rank 0 alone calls it.

    Only in a folder that is there, says nothing yet of how it ended, and in which nobody trains.
    """
    if not run.is_dir() or (run / "outcome.json").exists():
        return
    try:
        handle = _lock(run / ".lock")
    except (UserError, OSError):
        return
    try:
        outcome = {"exit_code": error.exit_code, "reason": str(error).splitlines()[0], "step": 0, "segment": 0}
        atomic_write(run / "outcome.json", _pretty(outcome))
    finally:
        os.close(handle)


def _lock(path: Path) -> int:
    """An exclusive lock for as long as this process lives; the file names its holder."""
    try:
        handle = take_lock(path, wait=False)
    except BlockingIOError as error:
        raise UserError(
            "another run is training in this folder",
            where=path.parent,
            found=error.strerror,
            way_out="wait for it, or give this run another folder: run_dir=runs/another",
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"host {socket.gethostname()}, pid {os.getpid()}\n".encode(), 0)
    return handle


def open_metrics(run: Path, from_step: int) -> LineLog:
    """`metrics.jsonl`, to append rows to; rows after the step that a resume starts from are dropped first."""
    path = run / "metrics.jsonl"
    if path.exists():
        kept = [row for row in read_json_lines(path) if row["step"] <= from_step]
        atomic_write(path, b"".join(orjson.dumps(row) + b"\n" for row in kept))
    return LineLog(path, durable=False)


def environment(ranks: int) -> dict[str, Any]:
    """What a segment runs on: versions and machine. No environment variables: they may hold secrets."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "ranks": ranks,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions of the packages that decide a run's numbers."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _pretty(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_outcome(run: Path) -> dict[str, Any] | None:
    """How a run's last segment ended, or None where it was killed or goes on."""
    path = run / "outcome.json"
    return orjson.loads(path.read_bytes()) if path.is_file() else None


def read_run_recipe(run: Path) -> Recipe:
    """The recipe of a run's folder, as resolved. Raises UserError where it is not a run's folder."""
    path = run / "recipe.yaml"
    if not path.is_file():
        raise UserError("not a run: it has no recipe.yaml", where=run, wanted="a folder that `clapas train` wrote")
    return read_typed(path, Recipe)
