"""CPU packages and their memory: Linux's powercap files (RAPL on Intel, the same files on AMD).

`/sys/class/powercap/intel-rapl:N` is a package, `intel-rapl:N:M` a part of one; of the parts only `dram` lies outside
the package's own counter. Microjoules, which wrap at `max_energy_range_uj` (docs.kernel.org/power/powercap).
Since 2020 many systems let only root read them (CVE-2020-8694): then there is nothing to measure here.
"""

from __future__ import annotations

from pathlib import Path

from clapas.train.energy.counter import Counter

ROOT = Path("/sys/class/powercap")
JOULES = 1e-6  # in a microjoule


def rapl_counters(root: Path = ROOT) -> list[Counter]:
    """A counter for each package, and for its memory where that is counted apart; empty where none can be read."""
    counters = []
    for zone in sorted(root.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            if name.startswith("package") or name == "dram":
                wraps_at = _joules(zone / "max_energy_range_uj")
                counters.append(Counter(lambda file=zone / "energy_uj": _joules(file), wraps_at))
        except (OSError, ValueError):
            return []  # a sum over some of the packages would pass for the whole
    return counters


def _joules(file: Path) -> float:
    return int(file.read_text()) * JOULES
