"""A draft with the documents of provenance alone, of the tests' run: quick, where no weights are looked at."""

from __future__ import annotations

from pathlib import Path

from tests.release.drafts import small_answers, small_evidence, small_facts, write_contents

from clapas.release.answers import Answers
from clapas.release.documents import bom, croissant, data_card, notice, privacy
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


def write_provenance(folder: Path, evidence: Evidence, answers: Answers) -> None:
    """The documents, and a card that says what check 19 asks of one."""
    for module in (notice, data_card, croissant, bom, privacy):
        write_contents(folder, module.documents(small_facts(evidence, answers)))
    (folder / "README.md").write_text(CARD, encoding="utf-8")


def draft_of(folder: Path, evidence: Evidence, answers: Answers | None = None) -> Draft:
    """A draft of these."""
    answers = answers or small_answers()
    folder.mkdir(exist_ok=True)
    write_provenance(folder, evidence, answers)
    return Draft(folder, evidence, answers, live=None, stranger=None)
