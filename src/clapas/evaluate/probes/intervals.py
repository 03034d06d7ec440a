"""How sure a figure of few items is: 95 % confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

Interval = tuple[float, float]
Z = 1.959963984540054  # of the normal distribution: 95 % lie within


def of_share(hits: int, count: int) -> Interval:
    """Wilson's score interval of a share (Wilson, 1927), sound also at 0 and 1. (0, 1) where there is no item."""
    if not count:
        return 0.0, 1.0
    p, z2 = hits / count, Z * Z
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = Z / (1 + z2 / count) * math.sqrt(p * (1 - p) / count + z2 / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def of_shares_apart(hits: int, count: int, other_hits: int, other_count: int) -> Interval:
    """Of the first share minus the other: Newcombe's hybrid score interval (Newcombe, 1998, method 10)."""
    p, q = hits / max(1, count), other_hits / max(1, other_count)
    (low, high), (other_low, other_high) = of_share(hits, count), of_share(other_hits, other_count)
    below = math.hypot(p - low, other_high - q)
    above = math.hypot(high - p, q - other_low)
    return p - q - below, p - q + above


def of_means_apart(values: Sequence[float], others: Sequence[float]) -> Interval:
    """Of the first mean minus the other, by the normal approximation; (-inf, inf) of fewer than two values each."""
    if min(len(values), len(others)) < 2:
        return -math.inf, math.inf
    half = Z * math.sqrt(variance(values) / len(values) + variance(others) / len(others))
    apart = fmean(values) - fmean(others)
    return apart - half, apart + half
