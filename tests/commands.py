"""The command line as a stranger runs it: what several tests share besides fixtures."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

Clapas = Callable[..., "subprocess.CompletedProcess[str]"]
"""The fixture `clapas`: run `clapas ARGUMENTS` in a folder."""


def clapas_environment() -> dict[str, str]:
    """The environment of a rank on its own: nothing of a launcher's."""
    launcher = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "CLAPAS_RENDEZVOUS")
    return {name: value for name, value in os.environ.items() if name not in launcher and "SLURM" not in name}
