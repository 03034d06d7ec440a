"""A draft with the documents of provenance alone, of the tests' run: quick, where no weights are looked at."""

from __future__ import annotations

from pathlib import Path

from tests.release.drafts import small_answers, small_evidence

from clapas.release.answers import Answers
from clapas.release.documents import bom, croissant, data_card, notice, privacy
from clapas.release.documents.facts import Facts
from clapas.release.evidence.evidence import Evidence, Measured
from clapas.release.gate.check import Draft

CARD = "Ce modèle n'est pas un dispositif médical. This model is not a medical device.\n"


def evidence_of(run: Path) -> Evidence:
    """The run's, with a probe of memorisation, whose figures are invented."""
    evidence = small_evidence(run)
    split = {"excerpts": 200, "exact": 0.01, "interval": [0.0, 0.03], "prefix": 0.2}
    probe = {
        "manifest": evidence.own_data.manifest_hash,
        "drawn": {"prompt_tokens": 50, "continuation_tokens": 50, "training": "documents that the run has read"},
        "figures": {"training": split, "held_out": split, "difference": {"is_shown": False}},
    }
    measured = Measured(
        kind="probes",
        file="001-probes.json",
        sha256="a" * 64,
        items="001-probes.items.jsonl",
        items_sha256="b" * 64,
        figures={},
        content={"probes": {"memorisation": probe}},
    )
    return evidence.model_copy(update={"measured": (measured,)})


def facts_of(evidence: Evidence, answers: Answers | None = None) -> Facts:
    """Facts with weights of which only a name is looked at."""
    return Facts(
        evidence=evidence,
        answers=answers or small_answers(),
        files={"model.safetensors": 1000},
        digests={"model.safetensors": "d" * 64},
        config={"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        is_chat=False,
        parameters=500,
    )


def write_provenance(folder: Path, evidence: Evidence, answers: Answers) -> None:
    """The documents, and a card that says what check 19 asks of one."""
    for module in (notice, data_card, croissant, bom, privacy):
        for name, content in module.documents(facts_of(evidence, answers)).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    (folder / "README.md").write_text(CARD, encoding="utf-8")


def draft_of(folder: Path, evidence: Evidence, answers: Answers | None = None) -> Draft:
    """A draft of these."""
    answers = answers or small_answers()
    folder.mkdir(exist_ok=True)
    write_provenance(folder, evidence, answers)
    return Draft(folder, evidence, answers, live=None, stranger=None)
