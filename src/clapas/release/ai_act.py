"""What the AI Act (Regulation (EU) 2024/1689) makes of a model's training compute: thresholds, and duties that follow.

Thresholds: above 10^23 FLOP a model that writes text is presumed to be of general purpose, and one who modifies such
a model with more than a third of the compute of its training becomes the provider of another (guidelines of the
Commission, C(2025) 5045, 2.1 and 3.2; where the original's compute is not known, a third of 10^23); above 10^25 it
is presumed to have systemic risk (article 51(2)). Not legal advice: what a model can do also counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clapas.release.answers import Answers
from clapas.release.evidence.evidence import Evidence
from clapas.release.training_compute import TOLERANCE, work_of

GENERAL_PURPOSE = 1e23
SYSTEMIC_RISK = 1e25
THIRD = 1 / 3
Duty = Literal["53(1)(a)", "53(1)(b)", "53(1)(c)", "53(1)(d)", "52", "54", "55"]
"""Articles: (a) technical documentation for authorities, (b) information for downstream providers, (c) a policy on
copyright, (d) the public summary of training content; 52 notification, 54 a representative, 55 systemic risk."""


@dataclass(frozen=True, slots=True)
class Modified:
    """A model of another provider that training began with. flops: of its training; None where nobody knows.

    threshold: of the modification's compute, above which who modifies becomes a provider.
    """

    name: str
    flops: float | None

    @property
    def threshold(self) -> float:
        """A third of its training; of the least that a model of general purpose takes, where that is not known."""
        return THIRD * (GENERAL_PURPOSE if self.flops is None else self.flops)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """own: FLOPs of the provider's own runs, with what stands beside training. modified: models of others.

    unknown: runs whose compute is not known: then `own` is a least. adapters: FLOPs of adapters that training began
    with; None where nobody knows. They are part of what the model took, and have no threshold of their own: who goes on
    with an adapter modifies the model that it is on, and a third of so little says nothing.
    """

    own: float
    modified: tuple[Modified, ...]
    unknown: tuple[str, ...] = ()
    adapters: tuple[float | None, ...] = ()

    @property
    def total(self) -> float:
        """Cumulative compute of the model: the provider's own and that of the models and adapters that it began with,
        as far as it is known."""
        return self.own + sum(flops or 0.0 for flops in self._of_others)

    @property
    def is_least(self) -> bool:
        """Whether some of the total is not known."""
        return bool(self.unknown) or None in self._of_others

    @property
    def _of_others(self) -> tuple[float | None, ...]:
        return (*(base.flops for base in self.modified), *self.adapters)

    @property
    def general_purpose(self) -> bool:
        """Presumed to be a general-purpose model."""
        return self.total > GENERAL_PURPOSE

    @property
    def systemic_risk(self) -> bool:
        """Presumed to have systemic risk."""
        return self.total > SYSTEMIC_RISK

    @property
    def becomes_provider(self) -> bool | None:
        """Whether the modification alone makes a provider; None where no model of another was modified."""
        return any(self.own > base.threshold for base in self.modified) if self.modified else None

    @property
    def is_provider(self) -> bool:
        """Of a general-purpose model: of one trained from nothing, or of one modified by more than a third."""
        return self.general_purpose and self.becomes_provider is not False

    @property
    def duties(self) -> tuple[Duty, ...]:
        """The articles that apply to a provider who publishes weights, architecture and usage under a free licence.

        Article 53(2) spares those (a) and (b), and article 54(6) the representative, but not where there is systemic
        risk.
        """
        if not self.is_provider:
            return ()
        if self.systemic_risk:
            return ("52", "53(1)(a)", "53(1)(b)", "53(1)(c)", "53(1)(d)", "54", "55")
        return ("53(1)(c)", "53(1)(d)")

    def is_near(self, threshold: float, flops: float) -> bool:
        """Whether a count lies below a threshold by no more than counts may be wrong."""
        return flops <= threshold < flops * (1 + TOLERANCE)


def verdicts(evidence: Evidence, answers: Answers) -> Verdicts:
    """Of a model as it is released."""
    work = work_of(evidence, answers)
    others = [base for base in evidence.bases if base.run is None]
    modified = tuple(_modified(base.folder, answers) for base in others if base.role == "weights")
    adapters = tuple(_modified(base.folder, answers).flops for base in others if base.role == "adapter")
    return Verdicts(work.total, modified, work.unknown, adapters)


def _modified(folder: str, answers: Answers) -> Modified:
    """What people know of a model of another; its folder's name where they were not asked."""
    answer = answers.base_models.get(folder)
    return Modified(folder, None) if answer is None else Modified(answer.name, answer.training_flops)
