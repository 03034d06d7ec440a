"""Small evidence and answers, of the tests' finished run: what documents and checks are tried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from clapas.checkpoint.reader import open_checkpoint
from clapas.release.answers import Answers
from clapas.release.documents.facts import Facts
from clapas.release.evidence.evidence import Evidence
from clapas.release.evidence.gather import gather

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def answer_values() -> dict[str, Any]:
    """The demo's answers, of the one source that the tests' corpus has."""
    values = yaml.safe_load((ROOT / "examples/release.yaml").read_text(encoding="utf-8"))
    del values["training_content"]["sources"]["legi"]
    return values


def small_answers() -> Answers:
    """The same, checked."""
    return Answers.model_validate(answer_values())


def write_answers(path: Path, values: dict[str, Any] | None = None) -> Path:
    """Answers as a file for `clapas release --answers`; by default the small ones."""
    path.write_text(yaml.safe_dump(values or answer_values(), allow_unicode=True), encoding="utf-8")
    return path


def small_evidence(run: Path) -> Evidence:
    """A run's evidence at its last checkpoint, as of a fixed moment."""
    return gather(run, open_checkpoint(run), NOW)


def small_facts(evidence: Evidence, answers: Answers | None = None, **changes: Any) -> Facts:
    """What documents are made from, of an export that nobody wrote. changes: of its fields."""
    config = {"vocab_size": evidence.model["vocab_size"], "dtype": "bfloat16"}
    facts = Facts(
        evidence=evidence,
        answers=answers or small_answers(),
        files={"model.safetensors": 2 * evidence.parameters},
        digests={"model.safetensors": "0" * 64},
        config=config,
        is_chat=False,
        parameters=evidence.parameters,
        key="ab" * 32,
    )
    return replace(facts, **changes)


def write_contents(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Documents as files of a release's folder. contents: by name."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
