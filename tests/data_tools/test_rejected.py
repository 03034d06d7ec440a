"""What a build says of documents: where each came from, and what the steps left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.data_tools.test_build import documents

from clapas_data import seal
from clapas_data.build import build
from clapas_data.manifest import open_manifest
from clapas_data.rejected import rejected, rejected_table
from clapas_data.text.hash import text_hash
from clapas_data.verify import verify

Corpus = Callable[..., Path]
LOST = "L'\ufffdt\ufffd de la d\ufffdcision n\ufffd {}"


def test_kept_and_rejected_documents_are_told(
    tmp_path: Path, jsonl_corpus: Corpus, test_data: Path, guides: list[str], clapas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kept one with its place and hash; of the rejected ones samples, by step, reason and source."""
    monkeypatch.setattr(seal, "MANY", 0)
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


def test_repeated_lines_and_near_copies_are_in_no_shard(
    tmp_path: Path, jsonl_corpus: Corpus, test_data: Path, guides: list[str]
) -> None:
    """What the steps across documents take out is in neither tokens nor sizes, and the near copy is shown."""
    footer = "Retrouvez toutes nos publications sur le site du ministère chargé du travail."
    near = guides[3].replace("travail", "labeur", 1)
    path = jsonl_corpus(a=[f"{text}\n{footer}" for text in guides[:3]], b=[guides[3], f"{near} Fin."])
    steps = [{"deduplicate.near": {"keep": "first"}}, {"deduplicate.lines": {"most": 1}}]
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps": steps}))
    manifest = build(path, tmp_path / "out", tokenizer=test_data / "tokenizer", workers=1)
    kept = documents(manifest, "train")
    assert len(kept) == 4
    assert [text.count(footer) for text in kept] == [1, 0, 0, 0]
    assert kept[3].splitlines()[0] == guides[3].splitlines()[0]
    rows = pq.read_table(tmp_path / "out" / "documents.parquet").to_pylist()
    assert [(row["bytes"], row["hash"]) for row in rows] == [(len(t.encode()), text_hash(t.encode())) for t in kept]
    assert manifest.text_bytes("train") == sum(len(text.encode()) for text in kept)
    (sample,) = pq.read_table(tmp_path / "out" / "rejected.parquet").to_pylist()
    assert (sample["step"], sample["id"]) == ("deduplicate.near", "b/1")
    for source, samples in ((None, 1), ("b", 1), ("a", 0)):  # whose they were is not counted; what was kept of them is
        (row,) = rejected(tmp_path / "out", "deduplicate.near", source)
        assert (row["source"], row["documents"], len(row["samples"])) == (None, 1, samples)
    assert "1 documents of all sources" in rejected_table(rejected(tmp_path / "out"))


def test_no_sample_keeps_personal_data(
    tmp_path: Path, jsonl_corpus: Corpus, test_data: Path, guides: list[str], fresh_cache: Path
) -> None:
    """Neither beside the shards nor in the cache, though a step before `personal` dropped the document."""
    english = "Please call the office of the manager on 06 12 34 56 78 before the end of the week, or write to him."
    path = jsonl_corpus(a=[guides[0], english])
    content = json.loads(path.read_text())
    content["sources"]["a"]["contains"] = ["personal"]
    path.write_text(json.dumps({**content, "steps": ["language", "personal"]}))
    build(path, tmp_path / "out", tokenizer=test_data / "tokenizer", workers=1)
    kept = [tmp_path / "out" / "rejected.parquet", *(fresh_cache / "prepared").rglob("*.rejected.parquet")]
    assert len(kept) == 2
    for file in kept:
        assert pq.read_table(file)["text"].to_pylist() == [english.replace("06 12 34 56 78", "<TÉLÉPHONE>")]
