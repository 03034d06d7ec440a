"""Ways to break what a release says under the AI Act: computing (16), energy (17), the summary of training (18)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.release.mutations.mutant import Case, Mutant, Values

SUMMARY = "documents/training-content-summary.{}.md"
FORM = "documents/model-documentation-form.{}.md"


def scale_flops(case: Case) -> None:
    """A ledger whose counts are ten times too low."""
    case.with_evidence(lambda values: values["compute"].update(flops=values["compute"]["flops"] / 10))


def forget_half_of_the_tokens(case: Case) -> None:
    """Both counts of half of the run: they agree with each other, and not with the data."""

    def halve(values: Values) -> None:
        values["tokens_computed"] //= 2
        values["compute"]["flops"] /= 2
        values["compute"]["flops_by_parameters"] /= 2

    case.with_evidence(halve)


def another_rule_of_thumb(case: Case) -> None:
    """2 N D instead of 6 N D."""
    flops = case.evidence.compute.flops_by_parameters
    case.with_evidence(lambda values: values["compute"].update(flops_by_parameters=flops / 3))


def pass_a_threshold(case: Case) -> None:
    """A verdict that the amount beside it contradicts."""
    lines = (case.folder / FORM.format("en")).read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if line.startswith("| general purpose"))
    said = row.rstrip(" |").rpartition("|")[2].strip()
    case.with_text(FORM.format("en"), row, row.replace(f"| {said} |", "| yes |" if said != "yes" else "| no |"))


def lose_a_threshold(case: Case) -> None:
    """The row of systemic risk is gone from the French form."""
    page = (case.folder / FORM.format("fr")).read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| risque systémique"))
    case.with_text(FORM.format("fr"), f"{row}\n", "")


def measure_without_a_boundary(case: Case) -> None:
    """Joules of nobody knows what."""

    def measured(values: Values) -> None:
        seconds = values["compute"]["accelerator_seconds"]
        values["compute"].update(energy_joules=200 * seconds, energy_boundary=None)

    case.with_evidence(measured)


def measure_kilojoules(case: Case) -> None:
    """A counter of millijoules that was read as one of joules."""

    def measured(values: Values) -> None:
        seconds = values["compute"]["accelerator_seconds"]
        values["compute"].update(energy_joules=2e5 * seconds, energy_boundary="GPU boards")

    case.with_evidence(measured)


def pass_an_estimate_for_a_measurement(case: Case) -> None:
    """The word "estimate" is gone from the French form."""
    case.with_text(FORM.format("fr"), "non mesurée\u00a0: estimation", "mesurée")


def round_the_co2_down(case: Case) -> None:
    """Another CO2 than energy times intensity."""
    page = (case.folder / FORM.format("en")).read_text(encoding="utf-8")
    said = next(line for line in page.splitlines() if "kg CO₂e" in line).partition(" = ")[2].partition("\u00a0kg")[0]
    case.with_text(FORM.format("en"), f" = {said}\u00a0kg", f" = 0.{said.replace('.', '')}1\u00a0kg")


def intensity(value: float) -> Any:
    """A carbon intensity that no current has."""
    return lambda case: case.with_answers(lambda values: values["energy"].update(carbon_intensity=value))


def a_stale_summary(case: Case) -> None:
    """Evidence of seven months ago, and so are all documents."""
    old = datetime.fromisoformat(case.evidence.time) - timedelta(days=213)

    def age(values: Values) -> None:
        values["time"] = old.strftime("%Y-%m-%dT%H:%M:%SZ")
        for data in values["data"]:
            for source in data["sources"]:
                source["date"] = None

    case.with_evidence(age)
    case.with_answers(
        lambda values: [
            source.update(acquired=["2020-01", "2020-02"]) for source in values["training_content"]["sources"].values()
        ]
    )


def licensed_without_a_licence(case: Case) -> None:
    """A source that is said to be licensed, where no licence was concluded."""
    case.with_answers(lambda values: _first_source(values).update(kind="licensed"))


def crawled_without_domains(case: Case) -> None:
    """A crawled source whose build kept no addresses."""
    both = {"fr": "Pages publiques.", "en": "Public pages."}
    crawler = {"name": "clapasbot", "purpose": both, "behaviour": both, "first": "2026-01", "last": "2026-03"}

    def crawl(values: Values) -> None:
        values["training_content"]["crawlers"] = [crawler]
        _first_source(values).update(kind="crawled")

    case.with_answers(crawl)


def acquired_before_it_was_there(case: Case) -> None:
    """A version of the data that is newer than the month in which they were acquired."""

    def acquire(values: Values) -> None:
        for source in values["data"][0]["sources"]:
            source["date"] = "2026-03-29"

    case.with_evidence(acquire)
    case.with_answers(lambda values: _first_source(values).update(acquired=["2020-01", "2020-02"]))


def a_section_less(case: Case) -> None:
    """Section 3.2 has no title in English."""
    case.with_text(SUMMARY.format("en"), "### 3.2. Removal of illegal content\n", "")


def an_answer_less(case: Case) -> None:
    """A question without its answer."""
    page = (case.folder / SUMMARY.format("en")).read_text(encoding="utf-8")
    asked = "**Description of the linguistic characteristics of the overall training data**\n"
    answer = page.partition(asked)[2].partition("\n**")[0]
    case.with_text(SUMMARY.format("en"), asked + answer, asked + "\n")


def a_placeholder(case: Case) -> None:
    """What somebody meant to write."""
    case.with_text(SUMMARY.format("fr"), "Aucune autre.", "à compléter")


def a_source_less(case: Case) -> None:
    """A source that the summary does not name."""
    name = case.evidence.own_data.sources[0].name
    case.with_text(SUMMARY.format("fr"), f"**{name}**", "**texte**")


def french_alone(case: Case) -> None:
    """The English summary is gone."""
    (case.folder / SUMMARY.format("en")).write_bytes((case.folder / SUMMARY.format("fr")).read_bytes())


def _first_source(values: Values) -> Values:
    return next(iter(values["training_content"]["sources"].values()))


MUTANTS = [
    Mutant("the ledger has a tenth of the FLOPs", 16, scale_flops, only=True),
    Mutant("fewer tokens computed than read", 16, forget_half_of_the_tokens, only=True),
    Mutant("2 N D for 6 N D", 16, another_rule_of_thumb, only=True),
    Mutant("a verdict that its amount contradicts", 16, pass_a_threshold),
    Mutant("no verdict on systemic risk", 16, lose_a_threshold),
    Mutant("energy measured without a boundary", 17, measure_without_a_boundary, only=True),
    Mutant("energy a thousand times too high", 17, measure_kilojoules, only=True),
    Mutant("an estimate that calls itself a measurement", 17, pass_an_estimate_for_a_measurement),
    Mutant("another CO2 than energy x intensity", 17, round_the_co2_down),
    Mutant("current that emits nothing", 17, intensity(0.0), only=True),
    Mutant("current dirtier than coal", 17, intensity(21_700.0), only=True),
    Mutant("a summary of seven months ago", 18, a_stale_summary, only=True),
    Mutant("licensed data without a licence", 18, licensed_without_a_licence, only=True),
    Mutant("crawled data without domains", 18, crawled_without_domains, only=True),
    Mutant("data acquired before they were published", 18, acquired_before_it_was_there, only=True),
    Mutant("a section less", 18, a_section_less),
    Mutant("an answer less", 18, an_answer_less),
    Mutant("a placeholder", 18, a_placeholder),
    Mutant("a source less", 18, a_source_less),
    Mutant("a French summary for an English one", 18, french_alone),
]
