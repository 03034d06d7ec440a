"""Whole nodes, as Slurm counts them where its site measures energy (AcctGatherEnergyType).

`scontrol show node` tells a node's `ConsumedJoules`, or `n/s` where it is not measured. The controller is asked once
a minute at most: a counter is not worth a busy scheduler.
"""

from __future__ import annotations

import os
import re
import subprocess
import time

from clapas.train.energy.counter import Counter

ASK_SECONDS = 60.0
PATIENCE_SECONDS = 10.0


def slurm_counters() -> list[Counter]:
    """The counter of this node; empty outside a job, or where Slurm does not measure."""
    node = os.environ.get("SLURMD_NODENAME")
    if node is None:
        return []
    try:
        return [Counter(_Asked(node).joules)]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


class _Asked:
    def __init__(self, node: str) -> None:
        self._node, self._joules, self._when = node, 0.0, float("-inf")

    def joules(self) -> float:
        if time.monotonic() - self._when >= ASK_SECONDS:
            command = ["scontrol", "--oneliner", "show", "node", self._node]
            told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
            self._joules, self._when = consumed_joules(told.stdout), time.monotonic()
        return self._joules


def consumed_joules(node: str) -> float:
    """ConsumedJoules of `scontrol show node`. Raises ValueError where it is not measured."""
    found = re.search(r"\bConsumedJoules=(\d+)", node)
    if found is None or found[1] == "0":  # 0: the plugin is there, its sensors are not
        raise ValueError("Slurm does not measure this node's energy")
    return float(found[1])
