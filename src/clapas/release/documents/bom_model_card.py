"""The model card within the bill of materials, in CycloneDX's form: parameters, figures, considerations, energy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from clapas.release.documents.facts import Facts
from clapas.release.documents.results import last_held_out, task_results
from clapas.release.energy_use import EnergyUse, energy_use
from clapas.release.personal_data import memorisation_of

Values = dict[str, Any]
APPROACH = {"grpo": "reinforcement-learning", "sft": "supervised", "distillation": "supervised"} | dict.fromkeys(
    ("dpo", "ipo", "kto", "orpo"), "supervised"
)
"""Objective -> how CycloneDX calls such learning; predicting the next token is self-supervised."""
GRAMS = 1e6
"""In a tonne."""


def model_card(facts: Facts, texts: Sequence[str]) -> Values:
    """The card. texts: references to the components that are the texts."""
    evidence = facts.evidence
    return {
        "modelParameters": {
            "approach": {"type": APPROACH.get(evidence.objective, "self-supervised")},
            "task": "text-generation",
            "architectureFamily": str(facts.config.get("model_type", "transformer")),
            "modelArchitecture": ", ".join(facts.config.get("architectures", [])) or "unknown",
            "datasets": [{"ref": text} for text in texts],
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_figures(facts))},
        "considerations": _considerations(facts),
    }


def _figures(facts: Facts) -> Iterator[Values]:
    evidence = facts.evidence
    for row in last_held_out(evidence):
        yield {"type": "loss", "value": str(row.loss), "slice": f"{row.split}, step {row.step}"}
        if row.bits_per_byte is not None:
            yield {"type": "bits_per_byte", "value": str(row.bits_per_byte), "slice": f"{row.split}, step {row.step}"}
    for task in task_results(evidence):
        for metric, (value, _) in task.metrics.items():
            said = f"{task.name} (version {task.version}), {task.num_fewshot}-shot, {task.items} of {task.of} items"
            yield {"type": metric, "value": str(value), "slice": said}
    for probe in memorisation_of(evidence):
        for split in ("training", "held_out"):
            own = probe["figures"][split]
            low, high = own["interval"]
            yield {
                "type": "memorised_word_for_word",
                "value": str(own["exact"]),
                "slice": f"{own['excerpts']} excerpts of {split} documents",
                "confidenceInterval": {"lowerBound": str(low), "upperBound": str(high)},
            }


def _considerations(facts: Facts) -> Values:
    use, documentation = facts.answers.use, facts.answers.documentation
    return {
        "users": [documentation.systems.en],
        "useCases": [use.intended.en, use.acceptable.en],
        "technicalLimitations": [use.limits.en, use.out_of_scope.en],
        "ethicalConsiderations": [
            {"name": "biases", "mitigationStrategy": documentation.biases.en},
            {"name": "unsuitable data", "mitigationStrategy": documentation.unsuitable.en},
        ],
        "environmentalConsiderations": {"energyConsumptions": [_energy(facts)]},
    }


def _energy(facts: Facts) -> Values:
    """What all runs behind the model took, with what is said of how it is known."""
    use, said = energy_use(facts.evidence, facts.answers), facts.answers.energy
    kwh = {"value": use.kwh if use.site_kwh is None else use.site_kwh, "unit": "kWh"}
    return {
        "activity": "training",
        "energyProviders": [
            {"organization": {"name": said.site.en}, "energySource": "unknown", "energyProvided": kwh},
        ],
        "activityEnergyCost": kwh,
        "co2CostEquivalent": {"value": use.co2_grams / GRAMS, "unit": "tCO2eq"},
        "properties": [{"name": f"clapas:{name}", "value": value} for name, value in _how_known(facts, use)],
    }


def _how_known(facts: Facts, use: EnergyUse) -> Iterator[tuple[str, str]]:
    said = facts.answers.energy
    yield "method", "measured" if use.is_measured else "estimated" if use.boundary is None else "measured and estimated"
    yield "boundary", use.boundary or "not measured"
    if use.estimated_kwh:
        yield "watts_per_accelerator", f"{use.watts_per_accelerator} ({said.watts_source.en})"
    known = use.power_usage_effectiveness is not None
    yield "power_usage_effectiveness", f"{use.power_usage_effectiveness}" if known else "unknown, not counted"
    yield "carbon_intensity", f"{said.carbon_intensity} g CO2e/kWh ({said.carbon_intensity_source.en})"
    if use.unknown:
        yield "not_counted", ", ".join(use.unknown)
