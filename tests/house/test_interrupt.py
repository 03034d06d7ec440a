"""Ctrl-C in every phase: exit 130 (75 where training saved), one line, no traceback, nothing half written."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import clapas_environment

ANSWERS = Path(__file__).parents[2] / "examples/release.yaml"
PHASES = {
    "export": ("export", "{run}", "--out", "out"),
    "release": ("release", "{run}", "--out", "out", "--answers", "{answers}", "--key", "{key}"),
    "eval": ("eval", "{run}"),
    "generate": ("generate", "{run}", "Le salarié", "--max-new-tokens", "100000"),
    "training, starting up": ("train", "test", "data.path={data}", "run_dir=out", "--nproc", "2"),
}


def interrupt(arguments: tuple[str, ...], cwd: Path, reached: Callable[[int], bool]) -> tuple[int, str]:
    """Start a verb, interrupt it as soon as it has reached a point; (exit code, stderr)."""
    command = [sys.executable, "-m", "clapas", *arguments]
    process = subprocess.Popen(
        command, cwd=cwd, env=clapas_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not reached(process.pid):
        assert process.poll() is None, f"it ended before: {process.stderr.read() if process.stderr else ''}"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def is_loading_torch(pid: int) -> bool:
    """Whether a process, or a child of it, has begun to load torch."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return any("libtorch" in Path(f"/proc/{number}/maps").read_text() for number in (pid, *children))
    except OSError:
        return False


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_leaves_nothing_half_written(
    phase: str, trained_run: Path, test_data: Path, key: Path, tmp_path: Path
) -> None:
    """Interrupted while it loads: no output folder, no hidden partial one."""
    given = {"run": trained_run, "data": test_data, "key": key, "answers": ANSWERS}
    arguments = tuple(word.format(**given) for word in PHASES[phase])
    code, errors = interrupt(arguments, tmp_path, is_loading_torch)
    assert code == 130, errors
    assert "Traceback" not in errors
    assert errors.strip().endswith("clapas: interrupted")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
