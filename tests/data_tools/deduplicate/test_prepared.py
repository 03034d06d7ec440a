"""From a corpus file to the text that is trained on: what deduplication decides is what is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clapas_data.corpus import read_corpus
from clapas_data.prepare import prepare
from clapas_data.workers import Workers


def test_a_corpus_without_its_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact and near copies gone, a footer left in the first document alone, held-out text whole; steps tell it."""
    monkeypatch.setenv("CLAPAS_CACHE", str(tmp_path / "cache"))
    footer = "Consultez la version en vigueur sur le site officiel"
    bodies = [" ".join(f"mot{number}x{place}" for place in range(40)) for number in range(4)]
    texts = [f"{body}\n\n{footer}" for body in bodies]
    rows = [*texts, texts[0], texts[1].replace("mot1x39", "autre"), footer]
    lines = [json.dumps({"id": str(place), "text": text}) for place, text in enumerate(rows)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    path = tmp_path / "made.yaml"
    path.write_text(
        "name: made\nsources: {a: {files: a.jsonl, id: id, licence: test}}\nheld_out: [{ids: ['3']}]\n"
        "steps: [deduplicate.near: {threshold: 0.7}, deduplicate.lines: {most: 1}]\ndecontaminate: null\n"
    )
    with Workers(1) as workers:
        prepared = prepare(read_corpus(path), workers)
    assert list(prepared.texts("train")) == [texts[0], bodies[1], bodies[2]]
    assert list(prepared.texts("heldout")) == [texts[3]]
    left = {step.name: (step.documents_in, step.documents_out) for step in prepared.steps}
    assert left["deduplicate"] == (7, 6)
    assert left["deduplicate.near"] == (6, 5)
    assert left["deduplicate.lines"] == (5, 4)
    assert left["hold out"] == (4, 3)
    near, line = (
        next(step for step in prepared.steps if step.name == f"deduplicate.{name}") for name in ("near", "lines")
    )
    assert (near.reasons, near.counts["pairs"]) == ({"near_duplicate": 1}, 1)
    assert (line.reasons, line.changed) == ({"empty": 1}, 3)
