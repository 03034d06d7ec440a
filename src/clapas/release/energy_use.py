"""The energy that a model's training took, and what its production emitted: measured where it was, else estimated.

An estimate is watts per accelerator (a person's answer, with its source) x the seconds that accelerators were held. It
is never called a measurement. Current within the boundary x the site's PUE (power usage effectiveness: all that the
site draws over what its machines draw) is what the site took; times the carbon intensity of that current, the CO2.
"""

from __future__ import annotations

from dataclasses import dataclass

from clapas.release.answers import Answers
from clapas.release.evidence.evidence import Evidence
from clapas.release.stems import Part, parts

JOULES = 3.6e6
"""In a kilowatt-hour."""


@dataclass(frozen=True, slots=True)
class EnergyUse:
    """kwh: of the machines that trained: the sum of what was measured and what is estimated. boundary: what was
    measured; None where nothing was. unknown: runs that are gone: nothing is known of them.

    power_usage_effectiveness: None where nobody knows it; then `site_kwh` is None, and the CO2 is of `kwh`.
    """

    measured_kwh: float
    estimated_kwh: float
    boundary: str | None
    accelerator_seconds: float
    """Of the runs that were not measured."""
    watts_per_accelerator: float
    power_usage_effectiveness: float | None
    grams_per_kwh: float
    unknown: tuple[str, ...]

    @property
    def kwh(self) -> float:
        """Of the machines, without what cools and feeds them."""
        return self.measured_kwh + self.estimated_kwh

    @property
    def is_measured(self) -> bool:
        """Whether all that is known was measured."""
        return self.boundary is not None and self.estimated_kwh == 0

    @property
    def site_kwh(self) -> float | None:
        """Of the site, for this training."""
        return None if self.power_usage_effectiveness is None else self.kwh * self.power_usage_effectiveness

    @property
    def co2_grams(self) -> float:
        """CO2 equivalent of the current, of the site's where its PUE is known."""
        return (self.kwh if self.site_kwh is None else self.site_kwh) * self.grams_per_kwh


def energy_use(evidence: Evidence, answers: Answers) -> EnergyUse:
    """What all runs took that made the model, each with its restarts and repeated work."""
    energy, runs = answers.energy, parts(evidence)
    measured = [part for part in runs if part.energy_joules is not None]
    seconds = sum(part.accelerator_seconds for part in runs if part.energy_joules is None)
    return EnergyUse(
        measured_kwh=sum(part.energy_joules or 0.0 for part in measured) / JOULES,
        estimated_kwh=seconds * energy.watts_per_accelerator / JOULES,
        boundary=_boundary(measured),
        accelerator_seconds=seconds,
        watts_per_accelerator=energy.watts_per_accelerator,
        power_usage_effectiveness=energy.power_usage_effectiveness,
        grams_per_kwh=energy.carbon_intensity,
        unknown=evidence.missing_stems,
    )


def _boundary(measured: list[Part]) -> str | None:
    """What was measured, in the meters' words; of several meters, all."""
    boundaries = dict.fromkeys(part.energy_boundary or "unknown" for part in measured)
    return "; ".join(boundaries) or None
