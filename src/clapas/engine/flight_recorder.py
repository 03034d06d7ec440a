"""NCCL's flight recorder: the last collectives of this rank's GPU, which only it knows.

The host is long past a collective in which the GPU hangs. The recorder's dump names each, with its state, sizes and the
stack that started it; `torchfrtrace --prefix nccl-trace- FOLDER` compares the dumps of all ranks and names the one that
did not come.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch._C import _distributed_c10d

ENTRIES = "2000"
"""Collectives kept: several steps of a deep model at ZeRO-3. A few megabytes of host memory."""
SETTINGS = {
    "TORCH_NCCL_TRACE_BUFFER_SIZE": ENTRIES,  # until torch 2.7
    "TORCH_FR_BUFFER_SIZE": ENTRIES,  # since
    "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
}
DUMPS = ("_dump_nccl_trace", "_dump_fr_trace")
"""What torch calls it, built with NCCL and without."""


def record_collectives() -> None:
    """Turn the recorder on, before the process group is made. What the user has set stays."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def dump_collectives(path: Path) -> bool:
    """Write what was recorded, pickled as torch's own tool reads it. Whether there is a recorder and it wrote."""
    dump: Any = next((found for name in DUMPS if (found := getattr(_distributed_c10d, name, None))), None)
    if dump is None:
        return False
    path.write_bytes(dump())
    return True
