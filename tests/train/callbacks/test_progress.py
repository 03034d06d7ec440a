"""Live figures on a terminal, plain lines in a file."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from clapas.train.callbacks.progress import figures
from commands import clapas_environment

ROW: dict[str, Any] = {
    "step": 10,
    "loss": 3.25,
    "grad_norm": 0.5,
    "learning_rate": 1e-3,
    "tokens_per_second": 12345.0,
    "mfu": 0.4321,
    "memory_reserved_bytes": 2_500_000_000,
    "time/forward": 0.3,
    "time/backward": 0.6,
    "time/optimizer": 0.1,
    "time/communication": None,
}


def drawn(row: dict[str, Any]) -> str:
    """What a terminal of 100 columns shows."""
    screen = io.StringIO()
    Console(file=screen, force_terminal=True, width=100, color_system=None).print(figures(row))
    return screen.getvalue()


def test_the_figures_of_a_row() -> None:
    """Loss, speed, utilisation, memory, and the shares of a step's time; what is not measured is left out."""
    text = drawn(ROW)
    for words in ("3.2500", "0.500", "1.00e-03", "12,345", "43.2%", "2.5 GB", "forward 30%", "backward 60%"):
        assert words in text
    assert "communication" not in text


def test_a_row_without_them() -> None:
    """A step that fp16 skipped, on a device of unknown peak."""
    text = drawn(ROW | {"grad_norm": None, "mfu": None})
    assert "overflow" in text
    assert "unknown" in text


def test_a_terminal_gets_the_figures(test_data: Path, tmp_path: Path) -> None:
    """A real run on a pseudo-terminal draws them, and keeps the validation above them."""
    overrides = (
        f"data.path={test_data}",
        "run_dir=run",
        "train.steps=4",
        "schedule.warmup_steps=1",
        "evaluation.tokens=8192",
    )
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "clapas", "train", "test", *overrides]
    environment = clapas_environment() | {"TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=end, stdout=subprocess.DEVNULL)
    os.close(end)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    assert process.wait(timeout=60) == 0, shown.decode()
    text = shown.decode()
    assert "heldout loss" in text
    assert "tokens/s" in text
    assert "backward" in text
    assert "4/4" in text
