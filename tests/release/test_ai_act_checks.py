"""Checks 16 to 18 and the documents that they read: a good draft passes, every mutant is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.release.ai_act_draft import changed, draft_of, write
from tests.release.drafts import NOW, answer_values
from tests.release.mutations.ai_act import MUTANTS
from tests.release.mutations.mutant import Case, Mutant

from clapas.recipe.errors import UserError
from clapas.release.answers import Answers
from clapas.release.documents.training_content.page import answers_on
from clapas.release.documents.training_content.summary import LANGUAGES, NAME
from clapas.release.documents.training_content.template import QUESTIONS, SECTIONS
from clapas.release.evidence.evidence import Domains
from clapas.release.gate.check import Check, Draft, Verdict
from clapas.release.gate.checks import compute, energy, training_content
from clapas.release.gate.checks.training_content import check_training_content
from clapas.release.gate.stated import read_equations, read_number, read_powers

CHECKS = (compute.CHECK, energy.CHECK, training_content.CHECK)


@pytest.fixture(scope="module")
def good(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """A draft of the tests' finished run, as of a fixed moment. Read it, do not change it."""
    return draft_of(trained_run, tmp_path_factory.mktemp("draft") / "release")


@pytest.fixture
def draft(good: Draft, tmp_path: Path) -> Draft:
    """A copy of it."""
    return replace(good, folder=Path(shutil.copytree(good.folder, tmp_path / "release")))


def looked_at(check: Check, draft: Draft) -> Verdict:
    """A check's verdict, on the day of the draft."""
    return check_training_content(draft, NOW) if check is training_content.CHECK else check.function(draft)


def with_answers(draft: Draft, change: Callable[[dict[str, Any]], object]) -> Draft:
    """The draft after other answers."""
    values = draft.answers.model_dump(mode="json")
    change(values)
    return changed(draft, answers=Answers.model_validate(values))


def page(draft: Draft, language: str) -> dict[str, str]:
    """The summary's answers."""
    text = (draft.folder / NAME.format(language=language)).read_text(encoding="utf-8")
    return answers_on(text, "fr" if language == "fr" else "en")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_good_draft_passes(check: Check, good: Draft) -> None:
    """Nothing is said against what the run and its answers give."""
    assert looked_at(check, good).status == "pass", looked_at(check, good).said


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_found_by_its_check(mutant: Mutant, draft: Draft) -> None:
    """And by none of the three others' checks, where it says so."""
    case = Case(draft.folder, draft.evidence, draft.answers)
    mutant.break_(case)
    if case.render_again:
        write(case.folder, case.evidence, case.answers)
    broken = replace(draft, evidence=case.evidence, answers=case.answers)
    found = [check.number for check in CHECKS if looked_at(check, broken).status != "pass"]
    assert mutant.check in found
    if mutant.only:
        assert found == [mutant.check]


def test_every_section_and_question_of_the_template_stands_there(good: Draft) -> None:
    """Both languages, in the order of the Commission's template."""
    for language in LANGUAGES:
        text = (good.folder / NAME.format(language=language)).read_text(encoding="utf-8").replace("\u00a0", " ")
        places = [text.index(f"{titles[language]}\n") for titles in SECTIONS.values()]
        assert places == sorted(places)
        assert {name for name, question in QUESTIONS.items() if question.always} <= set(page(good, language))


def test_a_stranger_is_told_the_age_of_a_summary(good: Draft) -> None:
    """A year later nobody is releasing it: it is as old as it says."""
    stranger = replace(good, live=None)
    verdict = check_training_content(stranger, NOW + timedelta(days=365))
    assert verdict.status == "pass"
    assert "365 days ago: older than 183 days" in verdict.said[0]
    assert check_training_content(good, NOW + timedelta(days=365)).status == "fail"


def test_a_summary_of_the_future_is_refused(good: Draft) -> None:
    """One of two clocks is wrong."""
    assert check_training_content(good, NOW - timedelta(days=3)).status == "fail"


def test_a_source_that_nobody_answered_for_is_refused_by_name(draft: Draft) -> None:
    """So is an answer about a source that no run read."""
    values = answer_values()
    values["training_content"]["sources"]["autre"] = values["training_content"]["sources"].pop("fiches-travail")
    with pytest.raises(UserError, match="fiches-travail"):
        changed(draft, answers=Answers.model_validate(values))


def crawled(draft: Draft, small: bool) -> Draft:
    """The draft as if its source had been crawled from 2,000 domains."""
    top = tuple((f"site{place}.example", 10_000 - place) for place in range(200))
    domains = Domains(hosts=2000, text_bytes=10**7, top=top)
    data = draft.evidence.own_data
    source = data.sources[0].model_copy(update={"domains": domains})
    evidence = draft.evidence.model_copy(update={"data": (data.model_copy(update={"sources": (source,)}),)})
    both = {"fr": "Robot poli.", "en": "A polite robot."}

    def answer(values: dict[str, Any]) -> None:
        values["provider"]["small"] = small
        next(iter(values["training_content"]["sources"].values()))["kind"] = "crawled"
        values["training_content"]["crawlers"] = [
            {"name": "clapasbot", "purpose": both, "behaviour": both, "first": "2026-01", "last": "2026-03"}
        ]

    return with_answers(replace(draft, evidence=evidence), answer)


@pytest.mark.parametrize(("small", "listed"), [(False, 200), (True, 100)])
def test_the_largest_domains_of_a_crawl_are_listed(draft: Draft, small: bool, listed: int) -> None:
    """A tenth of them; of a small enterprise, 5 % or 1,000."""
    made = crawled(draft, small)
    rows = (made.folder / "documents/crawled-domains.csv").read_text().splitlines()
    assert rows[0] == "source,domain,text_bytes"
    assert len(rows) == 1 + listed
    assert "site0.example" in page(made, "fr")["domains"]
    assert looked_at(training_content.CHECK, made).status == "pass", looked_at(training_content.CHECK, made).said


def test_measured_energy_says_of_what(draft: Draft) -> None:
    """Its boundary, the PUE with its source, and products that are right."""
    seconds = draft.evidence.compute.accelerator_seconds
    compute_facts = draft.evidence.compute.model_copy(
        update={"energy_joules": 300 * seconds, "energy_boundary": "GPU boards"}
    )

    def known(values: dict[str, Any]) -> None:
        values["energy"].update(
            power_usage_effectiveness=1.25, power_usage_effectiveness_source={"fr": "le site", "en": "the site"}
        )

    evidence = draft.evidence.model_copy(update={"compute": compute_facts})
    made = with_answers(replace(draft, evidence=evidence), known)
    assert looked_at(energy.CHECK, made).status == "pass", looked_at(energy.CHECK, made).said
    text = (made.folder / "documents/model-documentation-form.en.md").read_text()
    assert "GPU boards" in text
    assert "an estimate" not in text.lower()
    assert read_equations(text, "en")["site"].factor == 1.25


def test_numbers_are_read_back_as_both_languages_write_them() -> None:
    """A check reads the page, not the code that wrote it."""
    assert read_number("12\u202f345,6", "fr") == read_number("12,345.6", "en") == 12345.6
    assert read_powers("3,80\u00a0×\u00a010¹³ FLOP sur 1\u00a0×\u00a010²⁵", "fr") == [3.80e13, 1e25]
    equation = read_equations("0.5\u00a0h × 15\u00a0W = 0.0075\u00a0kWh", "en")["estimate"]
    assert equation.is_right
    assert not replace(equation, product=0.009).is_right


def test_a_form_names_the_teacher_and_the_summary_what_it_taught(draft: Draft) -> None:
    """Distillation: soft labels are no text, and belong into 2.5 all the same."""
    from clapas.release.evidence.evidence import BaseFacts

    teacher = BaseFacts(folder="prof", of="x", role="teacher", kind=None, seal=None, declared_licence=None, run=None)
    evidence = draft.evidence.model_copy(
        update={"bases": (teacher,), "recipe": {**draft.evidence.recipe, "objective": {"name": "distillation"}}}
    )
    made = changed(draft, evidence=evidence)
    assert "Distillation" in page(made, "en")["generators"]
    verdict = looked_at(compute.CHECK, made)
    assert "base_models.prof.parameters" in verdict.said[0]


def test_the_moment_of_the_evidence_dates_all(good: Draft) -> None:
    """No clock is read when documents are made."""
    assert page(good, "en")["update"] == "28 November 2026"
    assert datetime.fromisoformat(good.evidence.time) == NOW.astimezone(UTC)


@pytest.mark.parametrize(
    ("said", "shown"), [("2026-03-29", "29 March 2026"), ("2026-03", "March 2026"), ("2026", "2026")]
)
def test_a_source_is_dated_as_its_corpus_dates_it(draft: Draft, said: str, shown: str) -> None:
    """A day, a month, a year: all that people may know of a text."""
    data = draft.evidence.own_data
    source = data.sources[0].model_copy(update={"date": said})
    evidence = draft.evidence.model_copy(update={"data": (data.model_copy(update={"sources": (source,)}),)})
    assert f"of {shown}" in page(changed(draft, evidence=evidence), "en")["others"]
