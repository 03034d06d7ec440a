"""What the card's metadata claims, held against the evidence: without rendering, so for a card of any version."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose
from typing import TYPE_CHECKING, Any

from clapas.release.documents.card.metadata import base_models, emissions
from clapas.release.documents.facts import Facts
from clapas.release.documents.hub_names import hub_licence
from clapas.release.documents.results import last_held_out, task_results
from clapas.release.documents.words import number

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

Value = tuple[str, str, float]
"""Split or task, metric, value."""


def false_claims(card: ModelCard, facts: Facts) -> Iterator[str]:
    """A sentence for each thing that the card says otherwise than evidence and answers do."""
    said = card.data.to_dict()
    yield from _names(said, facts)
    yield from _emissions(said, facts)
    yield from _results(said, facts)
    if number(facts.parameters, "fr") not in card.text:
        yield f"README.md does not say that the model has {facts.parameters} parameters"


def _names(said: dict[str, Any], facts: Facts) -> Iterator[str]:
    """Licence, languages, models that it comes from."""
    licence = hub_licence(facts.answers.model.licence)
    wanted = {
        "license": licence["license"],
        "license_name": licence.get("license_name"),
        "language": list(facts.answers.model.languages),
        "base_model": base_models(facts) or None,
    }
    for key, value in wanted.items():
        if said.get(key) != value:
            yield f"README.md: {key} is {said.get(key)!r}, and evidence and answers say {value!r}"


def _emissions(said: dict[str, Any], facts: Facts) -> Iterator[str]:
    grams, claimed = emissions(facts)["emissions"], said.get("co2_eq_emissions")
    value = claimed.get("emissions") if isinstance(claimed, dict) else None
    if not isinstance(value, int | float) or not isclose(value, grams, rel_tol=1e-5):
        yield f"README.md: co2_eq_emissions.emissions is {value!r}, and the evidence says {grams} g"


def _results(said: dict[str, Any], facts: Facts) -> Iterator[str]:
    """Every value claimed was measured; every value measured is claimed."""
    try:
        claimed = set(_claimed(said.get("model-index") or []))
    except (AttributeError, KeyError, TypeError) as error:
        yield f"README.md: model-index has no results that can be read: {type(error).__name__}: {error}"
        return
    measured = set(_measured(facts))
    for name, metric, value in sorted(claimed - measured, key=str):
        yield f"README.md: {metric} of {name} is {value}, which was not measured"
    for name, metric, value in sorted(measured - claimed):
        yield f"README.md: {metric} of {name} was measured, {value}, and is not told"


def _claimed(index: list[dict[str, Any]]) -> Iterator[Value]:
    for model in index:
        for result in model["results"]:
            data, task = result["dataset"], result["task"]
            name = data.get("split") or task.get("name") or data["name"]
            yield from ((name, metric["type"], metric["value"]) for metric in result["metrics"])


def _measured(facts: Facts) -> Iterator[Value]:
    for row in last_held_out(facts.evidence):
        yield row.split, "loss", row.loss
        if row.bits_per_byte is not None:
            yield row.split, "bits_per_byte", row.bits_per_byte
    for task in task_results(facts.evidence):
        for metric, (value, _) in task.metrics.items():
            yield task.name, metric, value
