"""Rules of a quality filter: each measures one thing of every document, and says which have too little or too much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import Field

from clapas_data.steps.step import Outcome

Share = Annotated[float, Field(ge=0, le=1)] | None
"""A threshold between 0 and 1; none switches the rule off."""


@dataclass(slots=True)
class Rules:
    """The rules of a step as it states them, in the order in which their reasons are told."""

    rejected: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    def least(self, reason: str, threshold: float | None, measured: np.ndarray) -> None:
        """Drop documents with less than a threshold; none switches the rule off."""
        if threshold is not None:
            self.values[reason] = measured
            self.rejected[reason] = measured < threshold

    def most(self, reason: str, threshold: float | None, measured: np.ndarray) -> None:
        """Drop documents with more than a threshold; none switches the rule off."""
        if threshold is not None:
            self.values[reason] = measured
            self.rejected[reason] = measured > threshold

    def outcome(self) -> Outcome:
        """What the step says."""
        return Outcome(rejected=self.rejected, values=self.values)


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where there is no whole: float64."""
    return part / np.maximum(whole, 1)
