"""Health data without a ground, left in the texts, not tested for; and answers about health data that are not there."""

from __future__ import annotations

from typing import Any

from tests.release.mutations.mutant import Case, Mutant, Values

HEALTH: Values = {
    "legal_basis": {"fr": "RGPD, articles 6(1)(e) et 9(2)(j)", "en": "GDPR, articles 6(1)(e) and 9(2)(j)"},
    "authorisation": {"fr": "CNIL, MR-004, conformité du 3 mars 2026", "en": "CNIL, MR-004, since 3 March 2026"},
    "deidentification": {"fr": "L'étape `personal`, puis une relecture.", "en": "The step `personal`, then a review."},
    "not_a_medical_device": True,
}
COUNTS = {"personal.ipp": 40, "personal.birth_date": 38, "personal.person": 90, "personal.documents": 60}


def personal_step(documents: int, **options: Any) -> Values:
    """The step `personal` as it went over a source of letters from hospitals."""
    sums = {"documents_in": documents, "documents_out": documents, "bytes_in": 9000, "bytes_out": 8900, "changed": 60}
    return {"name": "personal", **sums, "reasons": {}, "counts": COUNTS, "options": {"leave": [], **options}}


def make_health(case: Case, *, contains: tuple[str, ...] = ("health",), step: Values | None = None) -> None:
    """One source becomes one of health data. step: its step `personal`."""

    def change(values: Values) -> None:
        source = values["data"][0]["sources"][0]
        source.update(contains=list(contains), steps=source["steps"] + ([] if step is None else [step]))

    case.with_evidence(change)


def answer_health(case: Case, **more: Any) -> None:
    """People say what they are asked of it."""
    case.with_answers(lambda values: values.update(health={**HEALTH, **more}))


def _not_answered(case: Case) -> None:
    make_health(case, step=personal_step(200))


def _only_seems(case: Case) -> None:
    make_health(case, contains=(), step=personal_step(200))


def _not_deidentified(case: Case) -> None:
    make_health(case)
    answer_health(case)


def _patients_left(case: Case) -> None:
    make_health(case, step=personal_step(200, leave=["ipp"]))
    answer_health(case)


def _nothing_seen(case: Case) -> None:
    make_health(case, step=personal_step(0))
    answer_health(case)


def _a_device(case: Case) -> None:
    make_health(case, step=personal_step(200))
    answer_health(case, not_a_medical_device=False)


def _not_measured(case: Case) -> None:
    make_health(case, step=personal_step(200))
    answer_health(case)
    case.with_evidence(
        lambda values: [measured["content"]["probes"].pop("memorisation") for measured in values["measured"]
                        if measured["kind"] == "probes"]
    )  # fmt: skip


def _measured_on_other_data(case: Case) -> None:
    make_health(case, step=personal_step(200))
    answer_health(case)

    def change(values: Values) -> None:
        for measured in values["measured"]:
            if measured["kind"] == "probes":
                measured["content"]["probes"]["memorisation"]["manifest"] = "c" * 64

    case.with_evidence(change)


MUTANTS = [
    Mutant("health data, and nobody says the legal basis", 19, _not_answered, only=True),
    Mutant("a source that seems to contain health data", 19, _only_seems, only=True),
    Mutant("health data that were not de-identified", 19, _not_deidentified, only=True),
    Mutant("health data whose patients' numbers were left", 19, _patients_left),
    Mutant("health data of which the step has seen nothing", 19, _nothing_seen),
    Mutant("a medical device", 19, _a_device),
    Mutant("health data without a test of memorisation", 19, _not_measured),
    Mutant("memorisation measured on other data", 19, _measured_on_other_data),
    Mutant("answers about health data that are not there", 19, answer_health),
]
