"""What documents say of energy, in words: measured or estimated, within which boundary, and the CO2 that follows.

The figures of an equation are such that a reader who multiplies them finds the product that stands there.
"""

from __future__ import annotations

from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import plain
from clapas.release.documents.words import Language, either, listed, significant
from clapas.release.energy_use import EnergyUse, energy_use

DIGITS = 4
"""Significant figures of what is multiplied: a product of rounded numbers is right to three."""
BOUNDARIES = {
    "whole nodes": "nœuds entiers",
    "whole nodes, as Slurm counts them": "nœuds entiers, tels que Slurm les compte",
    "GPU boards": "cartes GPU seules",
    "CPU packages and memory, other processes included": "processeurs et mémoire, autres programmes compris",
}
"""The boundaries of `train.energy.meter`, in French."""


def amount(facts: Facts, language: Language) -> str:
    """How much, in MWh, and whether it was measured."""
    use = energy_use(facts.evidence, facts.answers)
    said = f"{_mwh(use.kwh, language)} ({method(use, language)})"
    site = use.site_kwh
    if site is not None:
        said += either(language, f" ; {_mwh(site, language)} avec le site", f"; {_mwh(site, language)} with the site")
    return said + "."


def method(use: EnergyUse, language: Language) -> str:
    """One of three: measured, not measured and an estimate, or both."""
    if use.is_measured:
        return either(language, "mesurée", "measured")
    if use.boundary is None:
        return either(language, "non mesurée : estimation", "not measured: an estimate")
    return either(language, "mesurée en partie, estimée pour le reste", "measured in part, estimated for the rest")


def methodology(facts: Facts, language: Language) -> str:
    """The boundary, what an estimate rests on, the PUE, and the CO2, each with its source."""
    use, answers = energy_use(facts.evidence, facts.answers), facts.answers.energy
    told = [_measured(use, language), _estimated(use, answers.watts_source.said(language), language)]
    source = answers.power_usage_effectiveness_source
    told += [_site(use, "" if source is None else source.said(language), language)]
    told += [_emissions(use, answers.carbon_intensity_source.said(language), answers.country, language)]
    told += [
        either(language, "Lieu : ", "Place: ") + f"{plain(answers.site.said(language))} ({plain(answers.country)})."
    ]
    if use.unknown:
        told.append(
            either(language, "Non connue, et non comprise : celle de ", "Not known, and left out: that of ")
            + listed(list(map(plain, use.unknown)), language)
            + "."
        )
    return "\n".join(f"- {line}" for line in told if line)


def _measured(use: EnergyUse, language: Language) -> str:
    if use.boundary is None:
        return either(
            language,
            "Aucune mesure : la machine n'a donné aucun compteur d'énergie.",
            "No measurement: the machine gave no energy counter.",
        )
    kwh = f"{significant(use.measured_kwh, DIGITS, language)}\u00a0kWh"
    boundary = boundary_said(use.boundary, language)
    return either(
        language,
        f"Mesurée par les compteurs de la machine, de la première à la dernière étape : {kwh}. Périmètre : {boundary}.",
        f"Measured by the machine's counters, from the first step to the last: {kwh}. Boundary: {boundary}.",
    )


def boundary_said(boundary: str, language: Language) -> str:
    """What meters measured, in their words; of several meters, all."""
    told = [plain(BOUNDARIES.get(one, one) if language == "fr" else one) for one in boundary.split("; ")]
    return listed(told, language)


def _estimated(use: EnergyUse, source: str, language: Language) -> str:
    if not use.estimated_kwh:
        return ""
    hours = significant(use.accelerator_seconds / 3600, DIGITS, language)
    watts = significant(use.watts_per_accelerator, DIGITS, language)
    kwh = significant(use.estimated_kwh, DIGITS, language)
    return either(
        language,
        f"Estimation, et non mesure : {hours}\u00a0h × {watts}\u00a0W = {kwh}\u00a0kWh (heures d'accélérateur × "
        f"puissance d'un accélérateur avec sa part de la machine ; {plain(source)}). Périmètre : les machines qui ont "
        "entraîné.",
        f"An estimate, not a measurement: {hours}\u00a0h × {watts}\u00a0W = {kwh}\u00a0kWh (accelerator hours × watts "
        f"of an accelerator with its share of the machine; {plain(source)}). Boundary: the machines that trained.",
    )


def _site(use: EnergyUse, source: str, language: Language) -> str:
    if use.power_usage_effectiveness is None or use.site_kwh is None:
        return either(
            language,
            "Indicateur d'efficacité énergétique du site (PUE) : inconnu ; son refroidissement et son alimentation ne "
            "sont pas compris.",
            "Power usage effectiveness (PUE) of the site: unknown; its cooling and power supply are not included.",
        )
    kwh = significant(use.kwh, DIGITS, language)
    site = significant(use.site_kwh, DIGITS, language)
    pue = significant(use.power_usage_effectiveness, DIGITS, language)
    said = f"{kwh}\u00a0kWh × {pue} = {site}\u00a0kWh ({plain(source)})."
    return either(language, "Avec le site (PUE) : ", "With the site (PUE): ") + said


def _emissions(use: EnergyUse, source: str, country: str, language: Language) -> str:
    kwh = significant(use.kwh if use.site_kwh is None else use.site_kwh, DIGITS, language)
    grams = significant(use.grams_per_kwh, DIGITS, language)
    kilograms = significant(use.co2_grams / 1000, DIGITS, language)
    return either(
        language,
        f"Émissions : {kwh}\u00a0kWh × {grams}\u00a0g/kWh = {kilograms}\u00a0kg éq. CO₂ ({country} ; {plain(source)}).",
        f"Emissions: {kwh}\u00a0kWh × {grams}\u00a0g/kWh = {kilograms}\u00a0kg CO₂e ({country}; {plain(source)}).",
    )


def _mwh(kwh: float, language: Language) -> str:
    """In MWh, as the Code's form asks, to three significant figures."""
    return f"{significant(kwh / 1000, 3, language)}\u00a0MWh"
