"""Check 17: energy with its method and boundary, or an estimate that says it is one; the PUE; CO2 = energy x intensity.

Energy is added up here once more, from the evidence and the answers; then every product that the form states is read
back and multiplied.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from clapas.release.asked.training import Energy
from clapas.release.documents.model_form.form import NAME
from clapas.release.documents.training_content.page import plain_spaces
from clapas.release.documents.words import LANGUAGES, Language, either
from clapas.release.gate.check import Check, Draft, Verdict, judged
from clapas.release.gate.reading import Unreadable, read_text
from clapas.release.gate.stated import ROUNDING, Equation, read_equations
from clapas.release.layout import CARD
from clapas.release.stems import Part, parts

WATTS = (0.5, 3000.0)
"""Of one accelerator or core with its share of the machine: a phone's core to a rack's share of its largest GPU."""
DIRTIEST = 1500.0
"""g CO2e a kWh: more than any country's current, and than coal's own."""


def check_energy(draft: Draft) -> Verdict:
    """The figures, then what the form and the card say of them."""
    runs, answers = parts(draft.evidence), draft.answers.energy
    problems = [problem for part in runs for problem in _measured(part)]
    problems += _answered(answers)
    kwh = _kwh(runs, answers)
    for language in LANGUAGES:
        problems += _form(draft, kwh, _method(runs), language)
    site = kwh * (answers.power_usage_effectiveness or 1.0)
    problems += _card(draft, site * answers.carbon_intensity)
    pue = answers.power_usage_effectiveness
    return judged(
        problems,
        f"{kwh:.3g} kWh, {_method(runs)}; PUE {'unknown' if pue is None else f'{pue:g}'}; "
        f"{site * answers.carbon_intensity / 1000:.3g} kg CO2e",
    )


def _kwh(runs: tuple[Part, ...], answers: Energy) -> float:
    estimated = (
        part.accelerator_seconds * answers.watts_per_accelerator for part in runs if part.energy_joules is None
    )
    return (sum(part.energy_joules or 0.0 for part in runs) + sum(estimated)) / 3.6e6


def _method(runs: tuple[Part, ...]) -> str:
    measured = [part.energy_joules is not None for part in runs]
    return "measured" if all(measured) else "measured in part" if any(measured) else "estimated"


def _measured(part: Part) -> Iterator[str]:
    """What is wrong with a run's measured energy."""
    if part.energy_joules is None:
        return
    if not (part.energy_boundary or "").strip():
        yield f"{part.name}: energy was measured, and nobody knows of what: its boundary is missing"
    watts = part.energy_joules / part.accelerator_seconds if part.accelerator_seconds else 0.0
    if not WATTS[0] <= watts <= WATTS[1]:
        yield f"{part.name}: {watts:.3g} W an accelerator were measured; wanted {WATTS[0]:g} to {WATTS[1]:g}"


def _answered(answers: Energy) -> Iterator[str]:
    if not WATTS[0] <= answers.watts_per_accelerator <= WATTS[1]:
        yield f"energy.watts_per_accelerator: {answers.watts_per_accelerator:g}; wanted {WATTS[0]:g} to {WATTS[1]:g} W"
    if not 0 < answers.carbon_intensity <= DIRTIEST:
        yield f"energy.carbon_intensity: {answers.carbon_intensity:g}; wanted g CO2e a kWh, over 0 and to {DIRTIEST:g}"
    if (answers.power_usage_effectiveness is None) != (answers.power_usage_effectiveness_source is None):
        yield "energy.power_usage_effectiveness: a figure and its source belong together"


def _form(draft: Draft, kwh: float, method: str, language: Language) -> Iterator[str]:
    """What is wrong with a form's equations and words."""
    name, answers = NAME.format(language=language), draft.answers.energy
    page = read_text(draft.folder, name)
    if isinstance(page, Unreadable):
        yield str(page)
        return
    found = read_equations(page, language)
    site = answers.power_usage_effectiveness
    yield from (f"{name}: {equation.text}: that is not so" for equation in found.values() if not equation.is_right)
    wanted = {"emissions": (kwh * (site or 1.0), answers.carbon_intensity)}
    if site is not None:
        wanted["site"] = (kwh, site)
    if method == "estimated":
        wanted["estimate"] = (1000 * kwh / answers.watts_per_accelerator, answers.watts_per_accelerator)
    for kind, (left, factor) in wanted.items():
        yield from _equation(name, kind, found.get(kind), left, factor)
    words = {
        "measured": either(language, "(mesurée)", "(measured)"),
        "measured in part": either(language, "(mesurée en partie", "(measured in part"),
        "estimated": either(language, "(non mesurée : estimation)", "(not measured: an estimate)"),
    }
    if words[method] not in plain_spaces(page):
        yield f"{name} does not say that the energy is {method}: {words[method]!r}"
    if "PUE" not in page:
        yield f"{name} does not state the site's PUE, nor that it is unknown"


def _equation(name: str, kind: str, found: Equation | None, left: float, factor: float) -> Iterator[str]:
    if found is None:
        yield f"{name}: no equation of the {kind}"
    elif abs(found.left - left) > ROUNDING * left or abs(found.factor - factor) > ROUNDING * factor:
        yield f"{name}: {found.text}: wanted {left:.4g} x {factor:.4g}"


def _card(draft: Draft, grams: float) -> Iterator[str]:
    """What is wrong with the card's `co2_eq_emissions`; a card that does not parse is check 21's."""
    page = read_text(draft.folder, CARD)
    if isinstance(page, Unreadable) or not page.startswith("---\n"):
        return
    try:
        said = yaml.safe_load(page.split("---\n")[1]).get("co2_eq_emissions")
        emissions = float(said["emissions"])
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        yield f"{CARD}: no co2_eq_emissions.emissions there"
        return
    if abs(emissions - grams) > ROUNDING * grams:
        yield f"{CARD}: co2_eq_emissions.emissions: {emissions:g} g; energy x intensity is {grams:.4g} g"


CHECK = Check(17, "energy", "energy with method and boundary, PUE and CO2", check_energy)
