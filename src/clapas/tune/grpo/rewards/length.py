"""Against completions that go on until they are cut."""

from __future__ import annotations

from collections.abc import Sequence


def length_reward(tokens: Sequence[int], most: int, margin: int) -> float:
    """0 up to `most` - `margin` tokens, -1 from `most` on, a straight line between (DAPO; Yu et al., 2025)."""
    return -min(max(len(tokens) - (most - margin), 0) / margin, 1.0)
