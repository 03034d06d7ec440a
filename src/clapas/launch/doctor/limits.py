"""What the machine allows a process: open files, locked memory, processes, shared memory."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from clapas.launch.doctor.finding import Case, Finding, Status

MIN_OPEN_FILES = 1024
MIN_PROCESSES = 4096
"""A rank has some dozens of threads beside its loader's; a node has 4 to 8 ranks, and other jobs of the same user."""
MIN_SHM_GB = 0.05
INFINIBAND = Path("/sys/class/infiniband")
SHM = Path("/dev/shm")


def limits(case: Case) -> Iterator[Finding]:
    """The limits of this shell, which a job inherits where Slurm propagates them (its default)."""
    yield _open_files()
    yield _processes()
    if INFINIBAND.is_dir() and any(INFINIBAND.iterdir()):
        yield _locked_memory()


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= MIN_OPEN_FILES:
        return Finding("open files", "ok", _told(soft))
    most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    return Finding("open files", "warning", str(soft), "shards and ranks each keep files open", f"ulimit -n {most}")


def _processes() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft == resource.RLIM_INFINITY or soft >= MIN_PROCESSES:
        return Finding("processes", "ok", _told(soft))
    why = "threads count too: a rank that may start no further one ends with `Resource temporarily unavailable`"
    return Finding("processes", "warning", str(soft), why, f"ulimit -u {_told(hard)}")


def _locked_memory() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return Finding("locked memory", "ok", "unlimited")
    why = "InfiniBand registers its buffers as locked memory: NCCL fails in ibv_reg_mr (NCCL, troubleshooting)"
    mend = "ulimit -l unlimited, or PropagateResourceLimitsExcept=MEMLOCK in slurm.conf"
    return Finding("locked memory", "failure", f"{soft / 1024:.0f} KiB", why, mend)


def shared_memory(case: Case) -> Iterator[Finding]:
    """Room in /dev/shm."""
    if not SHM.is_dir():
        yield Finding("/dev/shm", "skipped", "there is none")
        return
    free = shutil.disk_usage(SHM).free / 1e9
    status: Status = "ok" if free >= MIN_SHM_GB else "warning"
    why = "" if status == "ok" else "NCCL and data workers exchange through it (containers give 64 MB)"
    yield Finding("/dev/shm", status, f"{free:.1f} GB free", why, "" if status == "ok" else "docker run --shm-size=8g")


def _told(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)
