"""Check 21: documents and the card's metadata are those of the evidence, and nothing is claimed beside it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from tests.release.drafts import answer_values, small_answers, small_evidence, small_facts
from tests.release.mutations.card import MUTANTS
from tests.release.mutations.mutant import Case, Mutant

from clapas.release.answers import Answers, read_answers
from clapas.release.documents.all import render_all
from clapas.release.documents.card.card import documents
from clapas.release.evidence.evidence import Evidence, read_evidence
from clapas.release.gate.check import Draft
from clapas.release.gate.checks.card import check_card
from clapas.release.gate.claims import false_claims
from clapas.release.gate.live import LiveModel

OF_THE_CARD = [mutant for mutant in MUTANTS if "card" in mutant.name]


@pytest.fixture(scope="module")
def draft(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """Documents, evidence and answers of the tests' finished run, without its weights. Copy it to change it."""
    folder, evidence, answers = tmp_path_factory.mktemp("draft"), small_evidence(trained_run), small_answers()
    facts = small_facts(evidence, answers)
    inputs = {"evidence.json": evidence.to_json(), "release.yaml": answers.to_yaml().encode()}
    for name, content in (inputs | render_all(facts)).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    live = LiveModel(trained_run, trained_run / "checkpoints" / evidence.checkpoint)
    return Draft(folder, evidence, answers, live, None, facts=facts)


def broken(draft: Draft, mutants: list[Mutant], folder: Path) -> Draft:
    """A copy of the draft that was broken in these ways."""
    case = Case(Path(shutil.copytree(draft.folder, folder / "copy")), draft.evidence, draft.answers)
    for mutant in mutants:
        mutant.break_(case)
    return replace(draft, folder=case.folder)


def test_documents_as_they_were_rendered_pass(draft: Draft) -> None:
    """All of them."""
    verdict = check_card(draft)
    assert verdict.status == "pass", verdict.said


def test_each_document_that_says_otherwise_is_named(draft: Draft, tmp_path: Path) -> None:
    """Evidence and answers in the folder, plots, citation, changelog, results: all at once, each told."""
    others = [mutant for mutant in MUTANTS if mutant not in OF_THE_CARD]
    said = check_card(broken(draft, others, tmp_path)).said
    for name in ("evidence.json", "release.yaml", "images/loss.png", "CITATION.cff", "CHANGELOG.md", "mmlu.yaml"):
        assert any(name in problem for problem in said), (name, said)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_changes_a_document(mutant: Mutant, draft: Draft, tmp_path: Path) -> None:
    """So that none passes for what it does not break."""
    copy = broken(draft, [mutant], tmp_path).folder
    files = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()}
    assert any(
        not (draft.folder / f).is_file() or (draft.folder / f).read_bytes() != (copy / f).read_bytes() for f in files
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("license: apache-2.0", "license: mit", "license is 'mit'"),
        ("- fr\n", "- fr\n- en\n", "language is"),
        ("library_name", "base_model: a/b\nlibrary_name", "base_model is 'a/b'"),
        ("  emissions: ", "  emissions: 1", "co2_eq_emissions.emissions"),
        ("type: bits_per_byte\n      value: ", "type: bits_per_byte\n      value: 0.0", "was not measured"),
        ("- type: loss\n", "- type: perte\n", "loss of heldout was measured"),
    ],
)
def test_a_stranger_finds_false_metadata_without_rendering(draft: Draft, old: str, new: str, said: str) -> None:
    """Of a card of any version of Clapas."""
    assert draft.facts is not None
    text = documents(draft.facts)["README.md"].decode()
    assert list(false_claims(ModelCard(text), draft.facts)) == []
    assert old in text
    assert any(said in problem for problem in false_claims(ModelCard(text.replace(old, new, 1)), draft.facts))


def test_a_base_model_that_is_left_out_is_missed(draft: Draft) -> None:
    """The evidence knows what the run began with."""
    base = {"folder": "lucie", "of": "test", "role": "weights", "kind": "huggingface", "seal": "1" * 64}
    url = "https://huggingface.co/OpenLLM-France/Lucie-7B"
    lucie = {"name": "Lucie", "revision": "v1.1", "url": url, "licence": "Apache-2.0", "attribution": "OpenLLM"}
    values = draft.evidence.model_dump(mode="json")
    values["bases"] = [base | {"declared_licence": None, "run": None}]
    answers = answer_values() | {"base_models": {"lucie": lucie | {"summary": None, "training_flops": None}}}
    facts = small_facts(Evidence.model_validate(values), Answers.model_validate(answers))
    text = documents(facts)["README.md"].decode()
    assert list(false_claims(ModelCard(text), facts)) == []
    without = text.replace("base_model:\n- OpenLLM-France/Lucie-7B\n", "")
    assert any("base_model is None" in problem for problem in false_claims(ModelCard(without), facts))


@pytest.mark.parametrize(
    "head", ["---\ntags: [a\n---\n", "---\n- a list\n---\n", "---\nmodel-index:\n- name: a\n---\n"]
)
def test_a_card_that_does_not_parse_fails_and_does_not_raise(draft: Draft, tmp_path: Path, head: str) -> None:
    """YAML that is none, that is no mapping, and results without a form."""
    copy = broken(draft, [], tmp_path)
    (copy.folder / "README.md").write_text(head + "# Card\n")
    verdict = check_card(replace(copy, evidence=older(draft.evidence), live=None))
    assert verdict.status == "fail"
    assert any("do not parse" in problem for problem in verdict.said)


def older(evidence: Evidence) -> Evidence:
    """As another version of Clapas wrote it."""
    return evidence.model_copy(update={"clapas": "0.0.9"})


def test_a_release_of_another_version_is_not_rendered_again(draft: Draft, tmp_path: Path) -> None:
    """Its metadata are looked at, and what was not is told."""
    copy = replace(draft, evidence=older(draft.evidence), live=None)
    (said,) = check_card(copy).said
    assert "not rendered here: documents of Clapas 0.0.9" in said


@pytest.mark.slow
def test_a_copy_from_a_hub_has_no_revisions_beside_it(released: Path, tmp_path: Path) -> None:
    """There they are branches; the documents that name them are the same."""
    copy = Path(shutil.copytree(released, tmp_path / "copy"))
    shutil.rmtree(copy / "revisions")
    draft = Draft(copy, read_evidence(copy), read_answers(copy / "release.yaml"), None, None)
    verdict = check_card(draft)
    assert verdict.status == "pass", verdict.said
    assert b"stage1-step10-" in (copy / "VERIFY.md").read_bytes()
