"""NVIDIA boards: NVML's counter of millijoules since the driver was loaded (Volta and later), memory included."""

from __future__ import annotations

from clapas.train.energy.counter import Counter

JOULES = 1e-3  # in a millijoule


def nvml_counters(uuid: str) -> list[Counter]:
    """The counter of the GPU of this UUID (`GPU-...`); empty without nvidia-ml-py, a driver, or a counter."""
    try:
        import pynvml
    except ImportError:
        return []

    def read() -> float:
        try:
            return pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByUUID(uuid)) * JOULES
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from None

    try:
        pynvml.nvmlInit()
        return [Counter(read)]
    except (pynvml.NVMLError, OSError):
        return []
