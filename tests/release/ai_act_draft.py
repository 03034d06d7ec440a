"""A draft with the AI Act's two documents alone, and mutants of it: what checks 16 to 18 are tried on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.release.drafts import small_answers, small_evidence, small_facts, write_contents

from clapas.checkpoint.reader import open_checkpoint
from clapas.release.answers import Answers
from clapas.release.documents.model_form import form
from clapas.release.documents.training_content import summary
from clapas.release.evidence.evidence import Evidence
from clapas.release.export import export
from clapas.release.gate.check import Draft
from clapas.release.gate.live import LiveModel


def draft_of(run: Path, folder: Path) -> Draft:
    """A run's exported weights and its two documents."""
    reader = open_checkpoint(run)
    export(reader.folder, folder, dtype="bf16")
    evidence, answers = small_evidence(run), small_answers()
    write(folder, evidence, answers)
    return Draft(folder, evidence, answers, LiveModel(run, reader.folder), None)


def write(folder: Path, evidence: Evidence, answers: Answers) -> None:
    """The documents of these facts, over what is there."""
    given = small_facts(evidence, answers)
    write_contents(folder, form.documents(given) | summary.documents(given))


def changed(draft: Draft, evidence: Evidence | None = None, answers: Answers | None = None) -> Draft:
    """The draft with other facts, its documents rendered again."""
    new = replace(draft, evidence=evidence or draft.evidence, answers=answers or draft.answers)
    write(new.folder, new.evidence, new.answers)
    return new
