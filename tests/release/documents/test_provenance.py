"""NOTICE, data card, Croissant metadata, bill of materials, personal data: valid, whole, of the facts alone."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from tests.release.drafts import small_answers, small_facts
from tests.release.mutations.licences import BASE, FIRST, SET
from tests.release.mutations.mutant import Case, Values
from tests.release.mutations.privacy import COUNTS, make_health, personal_step
from tests.release.provenance_draft import draft_of, evidence_of

from clapas.release.documents import bom, croissant, data_card, notice, privacy
from clapas.release.documents.model_form import form
from clapas.release.evidence.evidence import Evidence
from clapas.release.machine_readable import bom_problem, croissant_problem


@pytest.fixture(scope="module")
def evidence(trained_run: Path) -> Evidence:
    """Of the tests' finished run."""
    return evidence_of(trained_run)


def with_a_base(evidence: Evidence) -> Case:
    """The same run, begun with somebody else's model."""
    case = Case(Path(), evidence, small_answers())
    case.with_evidence(lambda values: values["bases"].append(BASE))
    case.with_answers(lambda values: values["base_models"].update(base={**FIRST, "licence": "MIT"}))
    return case


def test_machines_can_read_them(tmp_path: Path, evidence: Evidence) -> None:
    """mlcroissant and CycloneDX's strict schema accept them, also with a base model and personal data."""
    case = with_a_base(evidence)
    make_health(case, step=personal_step(200))
    folder = draft_of(tmp_path / "draft", case.evidence, case.answers).folder
    assert croissant_problem(folder) is None
    assert bom_problem(folder) is None


def test_croissant_names_every_shard_by_its_hash(evidence: Evidence) -> None:
    """And the sources with licence and revision; it says that none of it is distributed."""
    found = orjson.loads(croissant.documents(small_facts(evidence))[croissant.FILE])
    shards = [shard for source in evidence.own_data.sources for shard in source.shards]
    assert [file["sha256"] for file in found["distribution"]] == [shard.bin_sha256 for shard in shards]
    assert [(source["name"], source["version"]) for source in found["isBasedOn"]] == [
        (source.name, source.revision) for source in evidence.own_data.sources
    ]
    assert "not distributed" in found["description"]


def test_bill_of_materials(evidence: Evidence) -> None:
    """Weights by hash, texts as components that the card refers to, the base as ancestor, the energy as estimated."""
    case = with_a_base(evidence)
    found = orjson.loads(bom.documents(small_facts(case.evidence, case.answers))[bom.FILE])
    model = found["metadata"]["component"]
    assert model["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    texts = {part["bom-ref"] for part in found["components"] if part["type"] == "data"}
    assert {text["ref"] for text in model["modelCard"]["modelParameters"]["datasets"]} == texts != set()
    assert [ancestor["name"] for ancestor in model["pedigree"]["ancestors"]] == ["Base"]
    (energy,) = model["modelCard"]["considerations"]["environmentalConsiderations"]["energyConsumptions"]
    assert energy["activityEnergyCost"]["value"] > 0
    assert {"name": "clapas:method", "value": "estimated"} in energy["properties"]
    assert {part["name"] for part in found["components"] if part["type"] == "library"} >= {"torch"}


def test_every_file_of_weights_has_its_hash(evidence: Evidence) -> None:
    """Those for llama.cpp too: in the bill of materials and in the form's item on authenticity."""
    digests = {"model.safetensors": "a" * 64, "gguf/petit-q8_0.gguf": "b" * 64}
    facts = small_facts(evidence, gguf={"petit-q8_0.gguf": 7}, digests=digests)
    files = orjson.loads(bom.documents(facts)[bom.FILE])["metadata"]["component"]["components"]
    assert {file["name"]: file["hashes"][0]["content"] for file in files} == digests
    assert files[0]["properties"] == [{"name": "clapas:bytes", "value": "7"}]
    said = form.documents(facts)["documents/model-documentation-form.fr.md"].decode()
    assert all(f"`{name}` | `{digest}`" in said for name, digest in digests.items())


def test_the_serial_number_is_of_the_content(evidence: Evidence) -> None:
    """The same facts give the same bytes; other weights another number."""
    facts = small_facts(evidence)
    assert bom.documents(facts) == bom.documents(small_facts(evidence))
    other = bom.documents(facts.__class__(**{**facts.__dict__, "digests": {"model.safetensors": "e" * 64}}))
    numbers = [orjson.loads(found[bom.FILE])["serialNumber"] for found in (bom.documents(facts), other)]
    assert numbers[0] != numbers[1]


def test_memorisation_is_told_as_it_was_measured_last(evidence: Evidence) -> None:
    """Once for each corpus, in the report and in the bill of materials, however often it was recorded."""
    case = Case(Path(), evidence, small_answers())

    def again(values: Values) -> None:
        second = orjson.loads(orjson.dumps(values["measured"][0]))
        second["content"]["probes"]["memorisation"]["figures"]["training"]["excerpts"] = 321
        values["measured"].append(second)

    case.with_evidence(again)
    facts = small_facts(case.evidence, case.answers)
    report = privacy.documents(facts)["documents/privacy-report.en.md"].decode()
    assert report.count("| read in training | 321 |") == report.count("| read in training |") == 1
    assert bom.documents(facts)[bom.FILE].count(b"memorised_word_for_word") == 2


def test_notice_names_whoever_is_due(evidence: Evidence) -> None:
    """Sources, base models with their licence's text, the language model where it chose texts, the takedown contact."""
    case = with_a_base(evidence)
    said = notice.documents(small_facts(case.evidence, case.answers))["NOTICE"].decode()
    for due in notice.attributions(case.evidence, case.answers):
        assert due in said
    assert case.answers.contacts.takedown in said
    assert "Permission is hereby granted" in said  # of the base: MIT
    assert "lid.176" not in said
    step = personal_step(200) | {"name": "language"}
    case.with_evidence(lambda values: values["data"][0]["steps"].append(step))
    assert "CC-BY-SA-3.0" in notice.documents(small_facts(case.evidence, case.answers))["NOTICE"].decode()


def ask(case: Case, *tasks: str) -> None:
    """Record that the model was asked these."""
    content = {"tasks": {task: {"version": 2} for task in tasks}}
    record = {"kind": "tasks", "file": "f", "sha256": "", "items": "i", "items_sha256": "", "figures": {}}
    case.with_evidence(lambda values: values["measured"].append(record | {"content": content}))


def test_notice_says_whose_the_questions_are(evidence: Evidence) -> None:
    """Ours under CC0, others' as people answered, several tasks of one set together; the longer name first."""
    case = Case(Path(), evidence, small_answers())
    ask(case, "clapas_fr_grammaire", "global_mmlu_fr_business", "global_mmlu_fr_other", "global_mmlu_fr_humanities")
    sets = {
        "global_mmlu_fr": {**SET, "name": "Global MMLU"},
        "global_mmlu_fr_other": {**SET, "attribution": "D’autres"},
    }
    case.with_answers(lambda values: values["evaluation_sets"].update(sets))
    said = notice.documents(small_facts(case.evidence, case.answers))["NOTICE"].decode()
    assert "licence : CC0-1.0\n  tâches / tasks : clapas_fr_grammaire (version 2)\n" in said
    block = said[said.index("Global MMLU\n") :]
    assert block.split("\n\n")[0].splitlines() == [
        "Global MMLU",
        "  Des chercheurs",
        "  licence : CC-BY-4.0",
        "  lien / link : <https://questions.example>",
        "  tâches / tasks : global_mmlu_fr_business (version 2), global_mmlu_fr_humanities (version 2)",
    ]
    assert "D’autres\n" in said


def test_cards_say_what_the_evidence_says(evidence: Evidence) -> None:
    """Counts, hashes and both languages."""
    source = evidence.own_data.sources[0]
    found = data_card.documents(small_facts(evidence))
    english = found["documents/data-card.en.md"].decode()
    assert f"{source.tokens_read:,}" in english
    assert evidence.own_data.manifest_hash in english
    assert source.licence in english
    assert "ne sont pas distribuées" in found["documents/data-card.fr.md"].decode()


def test_the_privacy_report_counts_what_was_replaced(evidence: Evidence) -> None:
    """By kind and source; a source that did not go through the step is said not to have."""
    without = privacy.documents(small_facts(evidence))["documents/privacy-report.en.md"].decode()
    assert "No source went through" in without
    assert without.count("| – | not looked at | no |") == 1
    assert "recall" not in without  # of detectors that nobody used
    case = Case(Path(), evidence, small_answers())
    make_health(case, step=personal_step(200, leave=["email"]))
    found = privacy.documents(small_facts(case.evidence, case.answers))
    english = found["documents/privacy-report.en.md"].decode()
    assert f"| number of a patient or a stay | {COUNTS['personal.ipp']} |" in english
    assert "| e-mail | left |" in english
    assert "60 / 200" in english
    assert "recall 97.2%" in english
    assert "Memorisation is not shown" in english
    assert "données de santé" in found["documents/privacy-report.fr.md"].decode()
