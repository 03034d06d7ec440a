"""Checks 14, 15 and 19 on a good draft, and on one that people answered for. What breaks one: `test_mutants`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.release.drafts import small_answers
from tests.release.mutations import privacy as of_privacy
from tests.release.mutations.mutant import Case
from tests.release.provenance_draft import draft_of, evidence_of, write_provenance

from clapas.checkpoint.reader import find_checkpoint
from clapas.release.evidence.evidence import Evidence
from clapas.release.gate.check import Draft, Verdict
from clapas.release.gate.checks import health, licences, sources
from clapas.release.gate.live import LiveModel

CHECKS = {14: licences.CHECK, 15: sources.CHECK, 19: health.CHECK}


@pytest.fixture(scope="module")
def evidence(trained_run: Path) -> Evidence:
    """Of the tests' finished run."""
    return evidence_of(trained_run)


@pytest.fixture
def case(tmp_path: Path, evidence: Evidence) -> Case:
    """A good draft, to be changed."""
    return Case(draft_of(tmp_path / "draft", evidence).folder, evidence, small_answers())


def verdict(case: Case, number: int) -> Verdict:
    """What a check says of a draft as it was changed."""
    if case.render_again:
        write_provenance(case.folder, case.evidence, case.answers)
    return CHECKS[number].function(Draft(case.folder, case.evidence, case.answers, live=None, stranger=None))


@pytest.mark.parametrize("number", CHECKS)
def test_a_good_draft_passes(case: Case, number: int) -> None:
    """The demo's answers on the tests' corpus."""
    assert verdict(case, number).status == "pass", verdict(case, number).said


def test_a_release_is_not_made_where_its_metadata_cannot_be_looked_at(
    case: Case, trained_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who releases must have the package; a stranger, to whom the files are signed, need not."""
    live = LiveModel(trained_run, find_checkpoint(trained_run))
    draft = Draft(case.folder, case.evidence, case.answers, live=live, stranger=None)
    assert sources.check_sources(draft).status == "pass"
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    looked = sources.check_sources(draft)
    assert looked.status == "not-run"
    assert "needs `mlcroissant`" in looked.said[0]
    assert verdict(case, 15).status == "pass"


def test_what_people_decide_is_taken_and_printed(case: Case) -> None:
    """A share-alike source passes by a decision, which NOTICE and the data card print."""
    decided = {"fr": "Décidé par notre service juridique.", "en": "Decided by our legal department."}
    case.with_evidence(lambda values: values["data"][0]["sources"][0].update(licence="CC-BY-SA-4.0"))
    case.with_answers(
        lambda values: [own.update(licence_decision=decided) for own in values["training_content"]["sources"].values()]
    )
    assert verdict(case, 14).status == "pass"
    assert decided["en"] in (case.folder / "NOTICE").read_text()
    assert decided["fr"] in (case.folder / "documents/data-card.fr.md").read_text()


def test_health_data_that_were_cared_for_pass(case: Case) -> None:
    """Answered, de-identified, measured, and said not to be a device, in the card too."""
    of_privacy.make_health(case, step=of_privacy.personal_step(200))
    of_privacy.answer_health(case)
    assert verdict(case, 19).status == "pass", verdict(case, 19).said
    (case.folder / "README.md").write_text("Un modèle.\n")
    case.render_again = False
    assert "README.md does not say" in verdict(case, 19).said[0]


def test_a_hint_that_is_wrong_is_answered(case: Case) -> None:
    """People may know that a source which seems to hold health data holds none; the report prints how."""
    of_privacy.make_health(case, contains=(), step=of_privacy.personal_step(200))
    known = {"fr": "Des numéros de dossiers de chantier.", "en": "Numbers of building files."}
    case.with_answers(
        lambda values: [own.update(no_health_data=known) for own in values["training_content"]["sources"].values()]
    )
    assert verdict(case, 19).status == "pass"
    assert known["fr"] in (case.folder / "documents/privacy-report.fr.md").read_text()
