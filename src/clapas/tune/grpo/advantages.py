"""How much better than its group a completion is.

    A_i = (r_i - mean of the group's r) / (s + 1e-4),   s the standard deviation of the group or of the whole step


(Shao et al., 2024), or not divided at all. Deviations are the sample's (divided by n - 1), as in TRL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

SMALLEST_DEVIATION = 1e-4
"""Is added to the deviation that advantages are divided by: groups whose rewards are all equal have none."""


def group_advantages(rewards: Sequence[float], deviation: float | None) -> list[float]:
    """Each reward less the group's mean, divided. deviation: to divide by; None: not divided."""
    mean = math.fsum(rewards) / len(rewards)
    scale = 1.0 if deviation is None else deviation + SMALLEST_DEVIATION
    return [(reward - mean) / scale for reward in rewards]


def standard_deviation(rewards: Sequence[float]) -> float:
    """Of a sample of two or more."""
    mean = math.fsum(rewards) / len(rewards)
    return math.sqrt(math.fsum((reward - mean) ** 2 for reward in rewards) / (len(rewards) - 1))
