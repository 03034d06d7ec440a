"""Whole nodes of an HPE Cray EX (Adastra): the board's own counter, which any user may read.

`/sys/cray/pm_counters/energy` reads `123456 J 1700000000000000 us`: joules since boot of the whole node, its CPUs,
accelerators and memory (HPE Cray EX power monitoring, "PM counters").
"""

from __future__ import annotations

from pathlib import Path

from clapas.train.energy.counter import Counter

ROOT = Path("/sys/cray/pm_counters")


def cray_counters(root: Path = ROOT) -> list[Counter]:
    """The node's counter; empty where this is no such node."""
    file = root / "energy"
    try:
        return [Counter(lambda: float(file.read_text().split()[0]))]
    except (OSError, ValueError, IndexError):
        return []
