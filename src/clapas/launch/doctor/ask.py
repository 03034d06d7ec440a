"""Other programs are asked with a time-out: one that hangs or is absent is itself an answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass

SECONDS = 10.0
"""nvidia-smi takes a second or two a node without persistence mode; a file system's quota server may be slow."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program printed, or None and why there is nothing."""

    output: str | None
    reason: str = ""


def ask(program: str, *arguments: str, seconds: float = SECONDS) -> Answer:
    """The output of a program. It and all that it started are killed after `seconds`."""
    path = shutil.which(program)
    if path is None:
        return Answer(None, f"{program} is not installed")
    try:
        process = subprocess.Popen(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as error:
        return Answer(None, f"{program} does not start: {error.strerror}")
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that waits for a dead disk cannot even be killed
            process.wait(timeout=1)
        return Answer(None, f"{program} did not answer within {seconds:g} s")
    if process.returncode:
        said = (errors or output).strip().partition("\n")[0][:200]
        return Answer(None, f"{program} failed: {said or f'exit code {process.returncode}'}")
    return Answer(output)
