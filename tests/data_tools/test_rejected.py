"""What a build says of documents: where each came from, and what the steps left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from clapas_data.build import build
from clapas_data.manifest import open_manifest
from clapas_data.verify import verify

Corpus = Callable[..., Path]
LOST = "L'\ufffdt\ufffd de la d\ufffdcision n\ufffd {}"


def test_kept_and_rejected_documents_are_told(
    tmp_path: Path, jsonl_corpus: Corpus, test_data: Path, guides: list[str], clapas
) -> None:
    """Each kept one with its place and hash; of the rejected ones samples, by step, reason and source."""
    path = jsonl_corpus(a=[LOST.format(1), guides[0], LOST.format(2)], b=[guides[1], LOST.format(3)])
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "steps": ["repair"]}))
    out = tmp_path / "out"
    build(path, out, tokenizer=test_data / "tokenizer", workers=1)
    verify(out).raise_for_damage()
    assert "rejected.parquet" in open_manifest(out).files

    rows = pq.read_table(out / "documents.parquet").to_pylist()
    assert [(row["id"], row["file"]) for row in rows] == [("a/1", "a.jsonl"), ("b/0", "b.jsonl")]
    assert len({row["hash"] for row in rows}) == 2
    assert all(len(row["hash"]) == 16 for row in rows)

    shown = clapas("data", "inspect", out, "--rejected", "repair.replacement_characters", "--json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    found = {row["source"]: row for row in json.loads(shown.stdout)}
    assert {name: (row["documents"], round(row["share"], 3)) for name, row in found.items()} == {
        "a": (2, 0.667),
        "b": (1, 0.5),
    }
    assert {sample["text"] for sample in found["a"]["samples"]} == {LOST.format(1), LOST.format(2)}
    of_b = clapas("data", "inspect", out, "--rejected", "repair", "--source", "b", cwd=tmp_path).stdout
    assert of_b.startswith("repair.replacement_characters: 1 documents of b (50.00%)\n")
    assert LOST.format(3) in of_b
    assert LOST.format(1) not in of_b
    assert "replacement_characters" in clapas("data", "inspect", out, cwd=tmp_path).stdout
    wrong = clapas("data", "inspect", out, "--rejected", "gopher", cwd=tmp_path)
    assert (wrong.returncode, "repair.replacement_characters" in wrong.stderr) == (2, True)
