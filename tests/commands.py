"""The command line as a stranger runs it: what several tests share besides fixtures."""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from warm import warm_python

Clapas = Callable[..., "subprocess.CompletedProcess[str]"]
"""The fixture `clapas`: run `clapas ARGUMENTS` in a folder."""


@functools.cache
def python() -> str:
    """What starts Python quickly, for tests that need no fresh interpreter: see `warm`."""
    folder = tempfile.TemporaryDirectory(prefix="clapas-warm-")
    context = warm_python(Path(folder.name), clapas_environment())
    started = context.__enter__()
    atexit.register(folder.cleanup)
    atexit.register(context.__exit__, None, None, None)
    return started


def clapas_environment() -> dict[str, str]:
    """The environment of a rank on its own: nothing of a launcher's, nor of these tests'."""
    launcher = (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "CLAPAS_RENDEZVOUS",
        "TRITON_INTERPRET",
    )
    return {name: value for name, value in os.environ.items() if name not in launcher and "SLURM" not in name}


def python_ranks(
    script: str, arguments: Sequence[object], *, ranks: int, meeting: Path, timeout: float = 300
) -> list[subprocess.CompletedProcess[str]]:
    """Run a script as so many ranks, which meet at the file `meeting` in its folder. How each ended, in order."""
    started = []
    for rank in range(ranks):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1"}
        environment = {**clapas_environment(), **place, "CLAPAS_RENDEZVOUS": f"file://{meeting}"}
        command = [python(), "-c", script, *map(str, arguments)]
        process = subprocess.Popen(
            command, cwd=meeting.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
    ended = []
    for process in started:
        output, errors = process.communicate(timeout=timeout)
        ended.append(subprocess.CompletedProcess(process.args, process.returncode, output, errors))
    return ended
