"""Steps are said in words, so that a reader of a summary need not know their names."""

from __future__ import annotations

from pathlib import Path

from tests.release.drafts import small_answers, small_evidence, small_facts
from tests.release.mutations.mutant import Case
from tests.release.mutations.privacy import personal_step

from clapas.release.documents.steps import STEPS, step_said
from clapas.release.documents.training_content import summary
from clapas_data.steps import STEPS as NAMED


def test_every_step_of_a_build_is_said_in_words() -> None:
    """In both languages, each in words of its own; a step of somebody else's keeps its name."""
    assert set(NAMED) <= set(STEPS)
    for words in zip(*STEPS.values(), strict=True):
        assert len(set(words)) == len(STEPS)
    assert step_said("opt_out", "en") == "`opt_out`: removal of the documents of those who opted out"
    assert step_said("autre", "fr") == "`autre`"


def test_what_a_step_removed_is_counted_in_french(trained_run: Path) -> None:
    """One document is singular; kinds of personal data are named and not coded."""
    case = Case(Path(), small_evidence(trained_run), small_answers())
    opt_out = personal_step(10) | {"name": "opt_out", "documents_out": 9, "reasons": {"domain": 1}, "counts": {}}
    case.with_evidence(lambda values: values["data"][0]["steps"].extend([opt_out, personal_step(200)]))
    page = summary.documents(small_facts(case.evidence))["documents/training-content-summary.fr.md"].decode()
    said = page.replace("\u00a0", " ").replace("\u202f", " ")
    assert "étape `opt_out` : 1 document retiré sur 10 (domaines opposés : 1)" in said
    assert "numéro de patient ou de séjour : 40" in said
    assert "personal.ipp" not in said
