"""Which items of tasks stand in what a model trained on: found where they were planted, and nowhere else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from clapas.checkpoint.reader import find_checkpoint
from clapas.evaluate.contamination import contamination_table, measure_contamination
from clapas.evaluate.load import LoadedModel, load
from clapas.evaluate.record import record
from clapas.loader.readers import TRAIN
from clapas.loader.removal import remove_documents
from clapas.loader.shard_pool import ShardPool
from clapas.recipe.errors import UserError
from clapas_data.manifest import open_manifest
from commands import Clapas

ABSENT = "Quel oiseau de mer niche en colonies serrées sur les falaises du cap Sizun au printemps ?"


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """A copy of the tests' finished run."""
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


def words_of_document(data: Path, document: int) -> list[str]:
    """The words of a training document, as a reader would copy them."""
    manifest = open_manifest(data)
    place = manifest.of_split(TRAIN)[0]
    shard = ShardPool(manifest)[place]
    tokens = shard.read(shard.document_start(document), shard.document_start(document + 1))
    return Tokenizer.from_file(str(data / "tokenizer/tokenizer.json")).decode(tokens.tolist()).split()


def kept(run: Path, docs: dict[str, list[Any]]) -> LoadedModel:
    """Record answers to items, as `clapas eval --tasks --record` does; the model."""
    source = find_checkpoint(run)
    items = {task: [{"doc_id": n, "doc": doc} for n, doc in enumerate(own)] for task, own in docs.items()}
    record(source, "tasks", {"items": items, "tasks": {task: {} for task in docs}}, {})
    return load(run, device="cpu")


def test_planted_items_are_found_and_no_others(run: Path, test_data: Path) -> None:
    """A passage of a training document, in other letters; one that is nowhere; one that is too short."""
    passage = " ".join(words_of_document(test_data, 3)[20:45])
    docs = [{"question": passage.upper(), "choices": ["oui", "non"]}, {"question": ABSENT}, {"question": "Vrai ?"}]
    found = measure_contamination(kept(run, {"mine": docs}))
    assert found["tasks"] == {"mine": {"items": 3, "looked_for": 2, "overlapping": 1}}
    planted, absent, short = found["items"]["mine"]
    assert planted["found"] == planted["ngrams"] > 1
    assert planted["documents"] >= 1
    assert (absent["found"], short["ngrams"]) == (0, 0)
    shard = open_manifest(test_data).shards[open_manifest(test_data).of_split(TRAIN)[0]]
    assert planted["first"]["shard"] == shard.path
    assert "1 of 2 items overlap, 1 too short" in contamination_table(found)
    assert found["text"]["tokens"] == open_manifest(test_data).tokens(TRAIN)


def test_a_text_of_eight_words_is_sought_whole(run: Path, test_data: Path) -> None:
    """Eight words that stand in a document are found; the same with another last word are not."""
    words = words_of_document(test_data, 5)
    eight = next(words[n : n + 8] for n in range(20, 200) if all(word.isalpha() for word in words[n : n + 8]))
    docs = [" ".join(eight), " ".join([*eight[:-1], "ornithorynque"])]
    found = measure_contamination(kept(run, {"mine": docs}))
    assert [row["found"] for row in found["items"]["mine"]] == [1, 0]


def test_the_last_record_of_a_task_counts(run: Path, test_data: Path) -> None:
    """Measured again with other items: these are looked for, and the report names the record."""
    kept(run, {"mine": [" ".join(words_of_document(test_data, 3)[20:45])], "other": [ABSENT]})
    found = measure_contamination(kept(run, {"mine": [ABSENT]}))
    assert found["tasks"] == {task: {"items": 1, "looked_for": 1, "overlapping": 0} for task in ("mine", "other")}
    assert sorted(one["file"] for one in found["measured"]) == ["001-tasks.json", "002-tasks.json"]


def test_what_was_removed_since_was_read_all_the_same(run: Path, test_data: Path, tmp_path: Path) -> None:
    """The run read a document that was removed later: its own revision is looked through, or all of a named folder."""
    data = Path(shutil.copytree(test_data, tmp_path / "data"))
    passage = " ".join(words_of_document(data, 3)[20:45])
    loaded = kept(run, {"mine": [passage]})
    before = open_manifest(data).hash
    (identifier,) = _ids(data, 3)
    (tmp_path / "names.txt").write_text(identifier)
    remove_documents(data, tmp_path / "names.txt", reason="test", runs=[])
    found = measure_contamination(loaded, data)
    assert found["tasks"]["mine"]["overlapping"] == 1
    assert found["manifests"] == [before, open_manifest(data).hash]


def _ids(data: Path, document: int) -> list[str]:
    import pyarrow.parquet as pq

    place = open_manifest(data).of_split(TRAIN)[0]
    rows = pq.read_table(data / "documents.parquet").to_pylist()
    own = [row for row in rows if row["shard"] == open_manifest(data).shards[place].path]
    return [sorted(own, key=lambda row: row["offset"])[document]["id"]]


def test_nothing_to_look_for_is_told(run: Path) -> None:
    """No record; a record whose items were kept without their text; answers that were altered."""
    with pytest.raises(UserError, match="no tasks are recorded"):
        measure_contamination(load(run, device="cpu"))
    loaded = kept(run, {"mine": [ABSENT]})
    (path,) = (run / "evaluations").glob("*.items.jsonl")
    path.write_text(path.read_text().replace("oiseau", "poisson"))
    with pytest.raises(UserError, match="were altered"):
        measure_contamination(loaded)
    shutil.rmtree(run / "evaluations")
    (run / "ledger.jsonl").write_text("".join((run / "ledger.jsonl").read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match="without their items' text"):
        measure_contamination(kept(run, {"mine": [None]}))


def test_two_ranks_find_what_one_finds(run: Path, test_data: Path, clapas: Clapas) -> None:
    """Documents shared by two gloo ranks: the same items, documents and places."""
    kept(run, {"mine": [" ".join(words_of_document(test_data, n)[20:45]) for n in range(0, 40, 4)]})
    for ranks in (1, 2):
        result = clapas("eval", run, "--contamination", "--record", "--nproc", ranks, cwd=run.parent)
        assert result.returncode == 0, result.stderr
    one, two = sorted((run / "evaluations").glob("*-contamination.items.jsonl"))
    assert one.read_bytes() == two.read_bytes()
