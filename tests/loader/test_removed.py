"""After a removal: what is removed is never read, nothing else moves, and what read it is told exactly."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clapas.loader.audit import audit
from clapas.loader.loader import Loader
from clapas.loader.plan import DataPlan
from clapas.loader.readers import find_runs, readings
from clapas.loader.removal import removal_table, remove_documents
from clapas.loader.windows import Windows
from clapas.recipe.errors import UserError
from clapas.recipe.phases import Phases
from clapas.recipe.recipe import Recipe, read_recipe
from clapas_data.lookup import find
from clapas_data.manifest import Manifest, open_manifest
from clapas_data.remove import remove
from corpora import Lengths, write_corpus
from small_model import MODEL

LENGTHS: Lengths = {"law": [[7, 1, 30, 12, 4], [25, 3]], "web": [[40, 2, 9, 17]]}
NAMES = [
    f"train/{source}-{number:05d}#{document}"
    for source, shards in LENGTHS.items()
    for number, lengths in enumerate(shards)
    for document in range(len(lengths))
]
STAGES = [
    {"steps": 6},
    {"steps": 5, "sequence_length": 8},
    {"steps": 9, "mixture": {"web": 1, "law": 2}},
]


def take_out(folder: Path, names: list[str]) -> Manifest:
    """Remove documents from a corpus."""
    return remove(folder, list(enumerate(names, 1)), where=Path("names.txt")).manifest


def gone(manifest: Manifest, names: list[str]) -> set[tuple[str, int]]:
    """(shard, token) of each token of some documents."""
    rows = [row for own in find(manifest, names).values() for row in own]
    return {(row["shard"], row["offset"] + token) for row in rows for token in range(row["tokens"])}


def read(plan: DataPlan, index: int) -> list[tuple[str, int]]:
    """(shard, token) of each token of a sample."""
    shards = plan.manifest.shards
    return [(shards[span.shard].path, token) for span in plan.spans(index) for token in range(span.start, span.stop)]


@settings(deadline=None, max_examples=8)
@given(names=st.sets(st.sampled_from(NAMES), min_size=1, max_size=len(NAMES) - 3), length=st.integers(2, 30))
def test_a_sample_loses_what_was_removed_and_no_other_moves(names: set[str], length: int) -> None:
    """In any mixture, each sample is what it was without the removed tokens; batches hold none of them."""
    with tempfile.TemporaryDirectory() as place:
        before = write_corpus(Path(place), LENGTHS)
        holes = gone(before, sorted(names))
        kept = {place[0].split("/")[1].split("-")[0] for place in _all(before) if place not in holes}
        mixture = {source: 2.0 - place for place, source in enumerate(sorted(kept))}
        after = take_out(Path(place), sorted(names))
        assert after.hash != before.hash
        for weights in (mixture, None):
            old, new = (DataPlan(m, Phases.constant(4, length, weights), seed=3) for m in (before, after))
            for index in range(60):
                assert read(new, index) == [token for token in read(old, index) if token not in holes]
        numbers = {number for number, token in enumerate(_all(before)) if token in holes}
        with Loader(new, micro_batch_size=4) as loader:
            for batch, _ in zip(loader, range(10), strict=False):
                targets = batch.targets[batch.targets != -100].tolist()
                inputs = batch.tokens[:, :-1][batch.targets[:, :-1] != -100].tolist()
                assert not numbers & {*targets, *inputs}


@settings(deadline=None, max_examples=8)
@given(names=st.sets(st.sampled_from(NAMES), min_size=1, max_size=len(NAMES) - 3), length=st.integers(2, 30))
def test_with_a_document_mask_what_is_left_is_predicted_as_before(names: set[str], length: int) -> None:
    """Each target of a document that stays, from the token before it, also where documents beside it left."""
    with tempfile.TemporaryDirectory() as place:
        before = write_corpus(Path(place), LENGTHS)
        holes = gone(before, sorted(names))
        numbers = {number for number, token in enumerate(_all(before)) if token in holes}
        after = take_out(Path(place), sorted(names))
        old, new = (DataPlan(m, Phases.constant(4, length), seed=3, document_mask=True) for m in (before, after))
        with Loader(old, micro_batch_size=4) as was, Loader(new, micro_batch_size=4) as now:
            for first, second, _ in zip(was, now, range(8), strict=False):
                for old_row, row, inputs in zip(first.targets, second.targets, second.tokens, strict=True):
                    found = row[row != -100].tolist()
                    assert found == [target for target in old_row.tolist() if target not in {*numbers, -100}]
                    assert (inputs[row != -100] + 1).tolist() == found


def _all(manifest: Manifest) -> list[tuple[str, int]]:
    """(shard, token) of each token of the train split, in order: by what the tokens are numbered."""
    return [(shard.path, token) for shard in manifest.shards for token in range(shard.tokens)]


def test_held_out_windows_predict_what_is_left_once(tmp_path: Path) -> None:
    """And bits per byte divide by the bytes that are left."""
    write_corpus(tmp_path, {"law": [[5]]}, {"law": [[9, 30, 4], [14]]})
    manifest = take_out(tmp_path, ["heldout/law-00000#1", "heldout/law-00001#0"])
    windows = Windows(manifest, sequence_length=6, stride=3, batch_size=2, split="heldout")
    targets = [int(t) for batch in windows for t in batch.targets[batch.targets != -100]]
    assert sorted(targets) == [*range(9), *range(39, 43)]  # tokens of a split are numbered from 0
    assert windows.text_bytes == 4 * 13
    assert manifest.tokens("heldout") == 13


def test_a_source_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    """By name, with the way out."""
    write_corpus(tmp_path, LENGTHS)
    manifest = take_out(tmp_path, [name for name in NAMES if "web" in name])
    with pytest.raises(UserError, match="all documents of source 'web' were removed"):
        DataPlan(manifest, Phases.constant(4, 8, {"web": 1, "law": 1}), seed=0)
    DataPlan(manifest, Phases.constant(4, 8, {"law": 1}), seed=0)


def run_of(folder: Path, name: str, *, steps: int, left_out: tuple[Any, ...] = (), stages: Any = STAGES) -> Path:
    """A run as training leaves it: recipe and ledger."""
    values = {
        "name": Path(name).name,
        "seed": 5,
        "model": MODEL,
        "data": {"path": str(folder / "data"), "sequence_length": 16, "mixture": {"law": 2, "web": 1}},
        "train": {"global_batch_size": 4},
        "schedule": {"name": "constant"},
        "stages": stages,
    }
    recipe = Recipe.model_validate(values)
    plan = DataPlan.of_recipe(recipe)
    run = folder / "runs" / name
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(f"# identity: {recipe.identity_hash(plan.hash)}\n{recipe.to_yaml()}")
    events = [
        {"event": "segment_start", "left_out": left_out},
        {"event": "checkpoint", "step": steps},
    ]
    (run / "ledger.jsonl").write_bytes(b"\n".join(map(orjson.dumps, events)) + b"\n")
    return run


def test_the_steps_that_read_a_document_are_those_that_audit_tells(tmp_path: Path) -> None:
    """For every document, over stages and lengths: the question turned round has the same answer."""
    manifest = write_corpus(tmp_path / "data", LENGTHS)
    run = run_of(tmp_path, "run", steps=17)
    wanted: dict[tuple[str, int], set[int]] = defaultdict(set)
    for step in range(1, 18):
        for row in audit(run, step):
            wanted[row["shard"], row["document"]].add(step)
    rows = [row for own in find(manifest, NAMES).values() for row in own]
    told = readings(run, manifest, rows)
    assert told is not None
    found = {(row["shard"], row["document"]): set(row["steps"]) for row in told["documents"]}
    assert found == wanted
    assert {name["stage"] for name in told["stages"]} == {"1", "2", "3"}
    assert told["steps"] == [1, 17]


def test_work_that_was_thrown_away_is_told_apart(tmp_path: Path) -> None:
    """Steps 5 to 8 were done twice, on other text: audit tells of the last time, this of both."""
    manifest = write_corpus(tmp_path / "data", LENGTHS)
    run = run_of(tmp_path, "run", steps=12, left_out=((5, 8),), stages=[{"steps": 20}])
    plan = DataPlan(manifest, Phases.constant(4, 16, {"law": 2, "web": 1}), seed=5)
    rows = [row for own in find(manifest, NAMES).values() for row in own]
    told = readings(run, manifest, rows)
    assert told is not None
    for row in rows:
        tokens = {(row["shard"], row["offset"] + token) for token in range(row["tokens"])}
        drawn = [index for index in range(16 * 4) if tokens & set(read(plan, index))]
        vain = {5 + (index - 16) // 4 for index in drawn if 16 <= index < 32}
        kept = {index // 4 + 1 if index < 16 else 5 + (index - 32) // 4 for index in drawn if not 16 <= index < 32}
        own = next((document for document in told["documents"] if document["id"] == row["id"]), {"steps": []})
        assert set(own["steps"]) == kept
        assert vain <= set(told["rolled_back"])


def test_removing_tells_the_runs_and_leaves_the_old_manifest(tmp_path: Path) -> None:
    """The run is found by its identity on the revision that it read, which audit goes on to answer from."""
    write_corpus(tmp_path / "data", LENGTHS)
    run = run_of(tmp_path, "first", steps=17)
    before = [audit(run, step) for step in (1, 9, 17)]
    names = tmp_path / "names.txt"
    names.write_text("train/law-00000#2\n")
    told = remove_documents(tmp_path / "data", names, reason="asked for", runs=[tmp_path / "runs"])
    (first,) = told["runs"]
    assert (first["name"], first["revision"], told["revision"]) == ("first", 1, 2)
    assert first["manifest"] == told["was"] != told["hash"]
    assert "first" in removal_table(told)
    assert [audit(run, step) for step in (1, 9, 17)] == before
    run_of(tmp_path, "second", steps=17)
    names.write_text("train/law-00000#2\ntrain/web-00000#0\n")
    again = remove_documents(tmp_path / "data", names, runs=[tmp_path / "runs"])
    steps = {reading["name"]: reading["documents"] for reading in again["runs"]}
    assert [row["document"] for row in again["removed"]] == [0]
    assert [row["document"] for row in again["removed_before"]] == [2]
    assert {row["shard"] for row in steps["second"]} == {"train/web-00000"}
    assert {row["shard"] for row in steps["first"]} == {"train/web-00000", "train/law-00000"}
    (run / "recipe.yaml").write_text("# identity: 00\n" + read_recipe(run / "recipe.yaml").to_yaml())
    assert remove_documents(tmp_path / "data", names, runs=[run])["other_runs"] == [str(run)]
    with pytest.raises(UserError, match="no run here"):
        find_runs([tmp_path / "data"])


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    """It is told, and so are the points of a sweep, which lie deeper."""
    write_corpus(tmp_path / "data", LENGTHS)
    names = tmp_path / "names.txt"
    names.write_text(f"{NAMES[0]}\n{NAMES[1]}\n")
    for name in ("sweep/first", "sweep/second", "whole"):
        run_of(tmp_path, name, steps=17)
    (tmp_path / "runs/old").mkdir()
    (tmp_path / "runs/old/recipe.yaml").write_text("name: old\nno_such_key: 1\n")
    told = remove_documents(tmp_path / "data", names, runs=[tmp_path / "runs"])
    assert [Path(run["run"]).name for run in told["runs"]] == ["first", "second", "whole"]
    assert list(told["unreadable"]) == [str(tmp_path / "runs/old")]
    assert "runs/old: cannot be read" in removal_table(told)
    assert "no_such_key" in removal_table(told)


def test_an_altered_mask_is_not_read_past(tmp_path: Path) -> None:
    """Without it removed documents would be read."""
    write_corpus(tmp_path, LENGTHS)
    take_out(tmp_path, [NAMES[2]])
    (mask,) = tmp_path.glob("removed-*.parquet")
    data = bytearray(mask.read_bytes())
    data[40] ^= 1
    mask.write_bytes(data)
    plan = DataPlan(open_manifest(tmp_path), Phases.constant(4, 16), seed=0)
    with pytest.raises(UserError, match="the mask was altered"):
        plan.spans(0)
