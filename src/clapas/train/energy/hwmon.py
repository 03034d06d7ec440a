"""AMD boards: the amdgpu driver tells watts (`power1_average`, or `power1_input` on newer ones), no joules.

So the power is sampled once a second by a thread and summed up. Of a board with two dies (MI250X) the first tells the
power of both and the second tells 0: a sum over the ranks of a board is the board's
(docs.kernel.org/gpu/amdgpu/thermal.html).
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from clapas.train.energy.counter import Counter

ROOT = Path("/sys/bus/pci/devices")
WATTS = 1e-6  # in a microwatt
SAMPLE_SECONDS = 1.0


def hwmon_counters(pci_address: str, root: Path = ROOT, sample_seconds: float = SAMPLE_SECONDS) -> list[Counter]:
    """The counter of the GPU at a PCI address (`0000:c1:00.0`); empty where it does not tell its power."""
    for name in ("power1_average", "power1_input"):
        for file in (root / pci_address / "hwmon").glob(f"hwmon*/{name}"):
            try:
                return [Counter(SampledPower(file, sample_seconds).joules)]
            except (OSError, ValueError):
                continue
    return []


class SampledPower:
    """Joules as watts times seconds, from a file of microwatts that a thread reads until the process ends.

    Raises OSError or ValueError where the file cannot be read at first; later samples that fail repeat the one before.
    """

    def __init__(self, file: Path, sample_seconds: float) -> None:
        self._file, self._every = file, sample_seconds
        self._watts = self._read()
        self._since = time.perf_counter()
        self._joules = 0.0
        self._lock = threading.Lock()
        threading.Thread(target=self._work, name="power", daemon=True).start()

    def joules(self) -> float:
        """Joules since this object was made."""
        with self._lock:
            now = time.perf_counter()
            self._joules += self._watts * (now - self._since)
            self._since = now
            return self._joules

    def _read(self) -> float:
        return int(self._file.read_text()) * WATTS

    def _work(self) -> None:
        while True:
            time.sleep(self._every)
            try:
                watts = self._read()
            except (OSError, ValueError):
                continue
            self.joules()
            self._watts = watts
