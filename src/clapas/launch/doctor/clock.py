"""Clocks: this machine's against the file server's, and whether something keeps it right."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from clapas.launch.doctor.ask import ask
from clapas.launch.doctor.finding import Case, Finding, existing

TOLERATED_SECONDS = 1.0
"""NTP keeps a machine within milliseconds; a file server may round to seconds."""
MUNGE_SECONDS = 300
"""How old a credential of Slurm's may be (munge, --ttl)."""


def file_server(case: Case) -> Iterator[Finding]:
    """The time that the run's file system gives a new file, against this machine's."""
    folder = existing(case.run_folder)
    try:
        before = time.time()
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
            stamped = Path(f"/proc/self/fd/{file.fileno()}").stat().st_mtime
        after = time.time()
    except OSError as error:
        yield Finding("clock of the file server", "skipped", f"{folder}: {error.strerror}")
        return
    yield clock_finding(stamped, before, after)


def clock_finding(stamped: float, before: float, after: float) -> Finding:
    """A file's time, made between two readings of this machine's clock."""
    ahead = max(0.0, stamped - after) - max(0.0, before - stamped)
    told = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
    if abs(ahead) <= TOLERATED_SECONDS:
        return Finding("clock of the file server", "ok", f"within {TOLERATED_SECONDS:g} s of this machine's")
    why = "what is purged, and which of two files is newer, is told by these times"
    if abs(ahead) >= MUNGE_SECONDS:
        why += f"; Slurm refuses credentials {MUNGE_SECONDS} s apart"
    return Finding("clock of the file server", "warning", told, why, "timedatectl; tell the administrators")


def synchronised(case: Case) -> Iterator[Finding]:
    """Whether NTP keeps this machine's clock, where systemd or chrony can be asked."""
    answer = ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
    said = (answer.output or "").strip()
    if said in ("yes", "no"):
        yield _ntp_finding(said == "yes", "systemd says so")
        return
    chrony = ask("chronyc", "-n", "tracking")
    match = re.search(r"^Leap status\s*:\s*(.+)$", chrony.output or "", re.MULTILINE)
    if match:
        yield _ntp_finding(match[1].strip() != "Not synchronised", "chrony says so")
    else:
        reasons = "; ".join(a.reason or "its answer is not understood" for a in (answer, chrony))
        yield Finding("clock synchronised", "skipped", reasons)


def _ntp_finding(is_synchronised: bool, source: str) -> Finding:
    if is_synchronised:
        return Finding("clock synchronised", "ok", source)
    why = f"nodes that drift apart: Slurm refuses credentials {MUNGE_SECONDS} s apart, and logs cannot be put in order"
    return Finding("clock synchronised", "warning", f"no, {source}", why, "timedatectl set-ntp true (administrators)")
