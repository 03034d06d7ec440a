"""The card says what the evidence says, as the Hub reads it, and in French that numbers decide."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import EvalResult
from tests.release.drafts import answer_values, small_evidence, small_facts

from clapas.release.answers import Answers
from clapas.release.documents.card.card import card, documents
from clapas.release.documents.facts import Facts
from clapas.release.documents.results import last_held_out
from clapas.release.documents.words import Language, number
from clapas.release.evidence.evidence import Evidence

Values = dict[str, Any]
SPACES = {0xA0: " ", 0x202F: " "}
BASE = {
    "folder": "lucie", "of": "test", "role": "weights", "kind": "huggingface", "seal": "1" * 64,
    "declared_licence": "apache-2.0", "run": None,
}  # fmt: skip
LUCIE = {
    "name": "Lucie-7B", "revision": "v1.1", "url": "https://huggingface.co/OpenLLM-France/Lucie-7B",
    "licence": "Apache-2.0", "attribution": "OpenLLM-France", "summary": None, "training_flops": 1.2e23,
}  # fmt: skip


@pytest.fixture(scope="session")
def evidence(trained_run: Path) -> Evidence:
    """Of the tests' finished run."""
    return small_evidence(trained_run)


def facts_with(
    evidence: Evidence,
    change: Callable[[Values], object] = dict,
    answer: Callable[[Values], object] = dict,
    **more: Any,
) -> Facts:
    """Facts of evidence and answers that were changed."""
    values, answers = evidence.model_dump(mode="json"), answer_values()
    change(values)
    answer(answers)
    return small_facts(Evidence.model_validate(values), Answers.model_validate(answers), **more)


def told(facts: Facts, to: Language = "fr") -> str:
    """The card in one language, its no-break spaces as plain ones."""
    return card(facts, to).translate(SPACES)


def hub(facts: Facts) -> Any:
    """The card's metadata as the Hub's own library reads them."""
    return ModelCard(documents(facts)["README.md"].decode()).data


def test_the_hubs_library_reads_what_was_measured(evidence: Evidence) -> None:
    """Metadata, and each result as it was logged."""
    data = hub(small_facts(evidence))
    assert (data.license, data.language, data.library_name) == ("apache-2.0", ["fr"], "transformers")
    results: list[EvalResult] = data.eval_results
    (row,) = last_held_out(evidence)
    found = {(result.dataset_split, result.metric_type): result.metric_value for result in results}
    assert found == {("heldout", "bits_per_byte"): row.bits_per_byte, ("heldout", "loss"): row.loss}


@pytest.mark.parametrize(
    ("spdx", "license", "name"),
    [
        ("etalab-2.0", "etalab-2.0", None),
        ("GPL-3.0-or-later", "gpl-3.0", None),
        ("ODC-By-1.0", "odc-by", None),
        ("CECILL-2.1", "other", "cecill-2.1"),
    ],
)
def test_licences_are_called_as_the_hub_calls_them(
    evidence: Evidence, spdx: str, license: str, name: str | None
) -> None:
    """One that it does not know is `other`, with a name and its text."""
    data = hub(facts_with(evidence, answer=lambda values: values["model"].update(licence=spdx)))
    assert (data.license, data.license_name) == (license, name)
    assert (data.license_link == "LICENSE") == (name is not None)


def test_a_base_model_says_that_it_is_one(evidence: Evidence) -> None:
    """And no base of it is named."""
    facts = small_facts(evidence)
    assert "C'est un modèle de base : il prolonge un texte." in told(facts)
    assert "It is a base model" in told(facts, "en")
    assert hub(facts).base_model is None


def test_a_tuned_model_says_what_it_is_and_where_it_comes_from(evidence: Evidence) -> None:
    """Objective, adapters, the base with its licence and revision, in words and in the metadata."""

    def tune(values: Values) -> None:
        values.update(objective="dpo", adapters={"rank": 8, "dora": True}, bases=[BASE])
        values["recipe"]["objective"] = {"name": "dpo", "beta": 0.1}

    facts = facts_with(evidence, tune, lambda values: values.update(base_models={"lucie": LUCIE}), is_chat=True)
    text, data = told(facts), hub(facts)
    assert "aligné sur des paires de réponses" in text
    assert "modèle de base :" not in text
    assert "adaptateurs DoRA de rang 8" in text
    assert (
        "| [Lucie-7B](https://huggingface.co/OpenLLM-France/Lucie-7B) | poids de départ | v1.1 | Apache-2.0 |" in text
    )
    assert (data.base_model, data.base_model_relation) == (["OpenLLM-France/Lucie-7B"], "finetune")
    assert data.co2_eq_emissions["training_type"] == "fine-tuning"
    assert {"dpo", "dora", "conversational"} <= set(data.tags)


def test_snippets_run_as_they_stand(evidence: Evidence) -> None:
    """Python that parses; a conversation where there is a template; llama.cpp and Ollama where there is GGUF."""
    plain, chat = told(small_facts(evidence)), told(small_facts(evidence, is_chat=True, gguf={"demo-q8_0.gguf": 1}))
    for text in (plain, chat):
        (snippet,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
        ast.parse(snippet)
        assert "clapas/clapas-demo" in snippet
    assert "gguf" not in plain
    assert '"role": "user"' in chat
    assert "llama-cli -m gguf/demo-q8_0.gguf -cnv" in chat


def test_what_was_not_measured_says_so(evidence: Evidence) -> None:
    """Each probe, the tasks, the energy, whose estimate is marked as one."""
    text = told(small_facts(evidence))
    assert text.count("non mesuré.") == 4
    assert "Aucune tâche mesurée." in text
    assert "| Énergie | non mesurée ; estimation :" in text
    source = hub(small_facts(evidence)).co2_eq_emissions["source"]
    assert source.startswith("energy estimated, not measured")


def test_a_measured_energy_is_called_measured(evidence: Evidence) -> None:
    """With its boundary."""

    def measure(values: Values) -> None:
        values["compute"].update(energy_joules=7.2e6, energy_boundary="gpu")

    facts = facts_with(evidence, measure)
    assert "| Énergie | mesurée : 2 kWh (gpu) |" in told(facts)
    assert "estimation" not in told(facts)
    assert hub(facts).co2_eq_emissions["emissions"] == pytest.approx(2 * 21.7)


def test_probes_and_tasks_are_told_with_what_they_are_worth(evidence: Evidence) -> None:
    """Intervals, number of questions, examples shown, versions, seed, and where all answers are."""
    facts = facts_with(evidence, lambda values: values.update(measured=[PROBES, TASKS]))
    text = told(facts)
    assert "le modèle refuse 50 % (28 à 72 %) des 16 demandes nuisibles, et à tort 0 % (0 à 19 %) des 16" in text
    assert text.count("non mesuré.") == 3
    assert "| `clapas_fr_grammaire` | 1 | 44 | 2 | `acc` | 0,614 | 0,074 |" in text
    assert "lm_eval 0.4.13, graine 7" in text
    assert "`evaluations/002-tasks.json`" in text
    named = {(r.task_name, r.metric_type): r.metric_value for r in hub(facts).eval_results}
    assert named["clapas_fr_grammaire", "acc"] == 0.6136363636363636


def test_overlap_with_the_training_text_is_told(evidence: Evidence) -> None:
    """Of each task, what was looked for and found; or that nobody looked; and what the build removed before."""

    def look(values: Values) -> None:
        values["measured"] = [{**CONTAMINATION, "content": CONTAMINATION["content"] | {"manifests": [
            values["data"][0]["manifest_hash"]]}}]  # fmt: skip

    assert "| `clapas_fr_grammaire` | `test` | 44 | 7 | 1 |" in told(facts_with(evidence, look))
    steps = told(facts_with(evidence, lambda values: values["data"][0].update(steps=[STEP])))
    assert "- 1 document sur 10 retiré de `test` avant l'entraînement, trop proche des textes tenus à l'écart." in steps
    assert "Contamination : non recherchée." in told(facts_with(evidence, lambda v: v["data"][0].update(steps=[])))


def test_spikes_and_branches_are_told(evidence: Evidence) -> None:
    """And left out where there were none."""

    def happen(values: Values) -> None:
        values["compute"].update(skipped_updates=1, rollbacks=2)
        values["branch"] = {"step": 1000, "run": "tronc", "identity": "ab"}

    text = told(facts_with(evidence, happen))
    assert "1 mise à jour écartée et 2 retours à un point de reprise, les données lues depuis étant écartées" in text
    assert "pas 1 000 de l'entraînement `tronc`" in text
    assert "Instabilités" not in told(small_facts(evidence))


@pytest.mark.parametrize(
    ("documents", "before", "since"),
    [
        (1, "1 document en avait été retiré avant cet entraînement ; il part d'un modèle qui a pu le lire.",
         "1 document en a été retiré depuis cet entraînement, qui a pu le lire."),
        (2, "2 documents en avaient été retirés avant cet entraînement ; il part d'un modèle qui a pu les lire.",
         "2 documents en ont été retirés depuis cet entraînement, qui a pu les lire."),
    ],
)  # fmt: skip
def test_removed_documents_are_told_in_singular_and_plural(
    evidence: Evidence, documents: int, before: str, since: str
) -> None:
    """Before a training, and since."""

    def remove(values: Values) -> None:
        values["data"][0].update(removed_before=documents, removed_since=documents)
        values["branch"] = {"step": 1, "run": "stem", "identity": "00"}

    text = told(facts_with(evidence, remove))
    assert before in text
    assert since in text
    assert "retiré depuis" not in told(small_facts(evidence))


def test_no_answer_breaks_the_card(evidence: Evidence) -> None:
    """Bars, headings, rules and line ends of people's own stay where they are put."""

    def break_(values: Values) -> None:
        values["model"]["name"] = "A | B: 'c'\n---\n# d"
        values["model"]["summary"]["fr"] = "# Titre\n---\nlicense: none"
        values["provider"]["name"] = "X | Y"
        values["energy"]["watts_source"]["fr"] = "une | deux\ntrois"

    facts = facts_with(evidence, answer=break_)
    text = told(facts)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table
    assert not re.search(r"^# ", text, flags=re.M)
    assert hub(facts).license == "apache-2.0"


def test_both_languages_tell_the_same(evidence: Evidence) -> None:
    """As many headings and rows, the same figures."""
    facts = facts_with(evidence, lambda values: values.update(measured=[PROBES, TASKS]), is_chat=True)
    french, english = told(facts), told(facts, "en")
    for pattern in (r"^#+ ", r"^\|", r"^- ", r"^```"):
        assert len(re.findall(pattern, french, flags=re.M)) == len(re.findall(pattern, english, flags=re.M))
    for value in (facts.parameters, evidence.tokens, evidence.own_data.tokens_read):
        assert number(value, "fr").translate(SPACES) in french
        assert number(value, "en").translate(SPACES) in english


def _measured(kind: str, file: str, **content: Any) -> Values:
    whole = {"kind": kind, "time": 1795831874.69, **content}
    named = {"sha256": "0" * 64, "items": f"{file}.items.jsonl", "items_sha256": "0" * 64, "figures": {}}
    return {"kind": kind, "file": f"{file}.json", **named, "content": whole}


def _refused(share: float, low: float, high: float) -> Values:
    return {"requests": 16, "refused": share, "interval": [low, high]}


PROBES = _measured(
    "probes",
    "001-probes",
    probes={"refusal": {"figures": {"harmful": _refused(0.5, 0.28, 0.72), "harmless": _refused(0.0, 0.0, 0.19)}}},
)
TASKS = _measured(
    "tasks",
    "002-tasks",
    tasks={
        "clapas_fr_grammaire": {
            "version": 1,
            "items": 44,
            "of": 44,
            "num_fewshot": 2,
            "metrics": {"acc": 0.6136363636363636, "acc_stderr": 0.07425392901036847},
        }
    },
    seeds={"fewshot": 7},
    harness={"lm_eval": "0.4.13"},
    chat=False,
)
CONTAMINATION = _measured(
    "contamination",
    "003-contamination",
    method={"words": 13, "fewest_words": 8},
    tasks={"clapas_fr_grammaire": {"items": 44, "looked_for": 7, "overlapping": 1}},
)
STEP = {
    "name": "decontaminate", "documents_in": 10, "documents_out": 9, "bytes_in": 100, "bytes_out": 90, "changed": 0,
    "reasons": {}, "counts": {}, "options": {},
}  # fmt: skip
