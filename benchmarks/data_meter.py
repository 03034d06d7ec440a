"""What a command and all its children take: seconds, and the most memory that they held together."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Taken:
    """seconds: wall. rss, own: bytes at the peak, summed over the processes: resident in all (pages that they share
    counted for each), and without file pages."""

    seconds: float
    rss: int
    own: int


def metered(command: Sequence[str], environment: dict[str, str] | None = None) -> Taken:
    """Run a command to its end. Raises CalledProcessError where it fails."""
    began = time.monotonic()
    rss = own = 0
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            found = [_memory(pid) for pid in _family(process.pid)]
            rss = max(rss, sum(pages[0] for pages in found))
            own = max(own, sum(pages[0] - pages[1] for pages in found))
            time.sleep(POLL_SECONDS)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return Taken(time.monotonic() - began, rss * PAGE, own * PAGE)


def _family(root: int) -> list[int]:
    """A process and its descendants."""
    found = [root]
    for pid in found:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:
            continue
    return found


def _memory(pid: int) -> tuple[int, int]:
    """Resident pages of a process, and those among them that lie in files or are shared."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    return int(fields[1]), int(fields[2])
