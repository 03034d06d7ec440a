"""The model that was trained, as the gate compares an export with it: its logits on probes, and its held-out loss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clapas.release.gate.stranger import Probes


@dataclass
class LiveModel:
    """A checkpoint and the data that it was validated on. To be completed by helper C."""

    checkpoint: Path
    probes: Probes | None = None
