"""Which documents a step read, asked afterwards: exactly those of its batches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clapas.loader.audit import audit, audit_table, documents_of_step
from clapas.loader.loader import Loader
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import UserError
from clapas.recipe.phases import Phases
from clapas.recipe.recipe import Recipe, read_recipe
from clapas_data.manifest import open_manifest
from corpora import write_corpus

LENGTHS = {"law": [[7, 1, 30, 12], [25]], "web": [[40, 2, 9]]}


def run_of(tmp_path: Path) -> tuple[Path, DataPlan]:
    """The folder of a run on a small corpus, as training leaves it, and its data plan."""
    write_corpus(tmp_path / "data", LENGTHS)
    values = {
        "name": "small",
        "seed": 5,
        "model": {
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "vocab_size": 65_536,
            "max_position_embeddings": 64,
        },
        "data": {"path": str(tmp_path / "data"), "sequence_length": 16, "mixture": {"law": 2, "web": 1}},
        "train": {"steps": 50, "global_batch_size": 4},
    }
    recipe = Recipe.model_validate(values)
    plan = DataPlan.of_recipe(recipe)
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text(f"# identity: {recipe.identity_hash(plan.hash)}\n{recipe.to_yaml()}")
    assert read_recipe(run / "recipe.yaml") == recipe
    return run, plan


@pytest.mark.parametrize("step", [1, 2, 37])
def test_a_step_read_exactly_the_documents_that_its_batches_hold(tmp_path: Path, step: int) -> None:
    """Token by token: the rows cover the samples, with the right document, source and place."""
    run, plan = run_of(tmp_path)
    rows = audit(run, step)
    starts: dict[str, int] = {}
    at = 0
    for source, shards in LENGTHS.items():
        for number, lengths in enumerate(shards):
            for document, length in enumerate(lengths):
                starts[f"{source}:train/{source}-{number:05d}:{document}"] = at
                at += length
    read = {
        (row["sample"], starts[row["id"]] + token) for row in rows for token in range(row["first"], row["last"] + 1)
    }
    with Loader(plan, rank=0, world=1, micro_batch_size=4, start_step=step) as loader:
        batch = next(iter(loader))
    wanted = set()
    for sample, tokens, targets in zip(plan.interval(step), batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        for token, target in zip(tokens, targets, strict=True):
            if target != -100:
                wanted |= {(sample, token), (sample, target)}
    assert read == wanted
    assert all(row["id"].startswith(f"{row['source']}:{row['shard']}:{row['document']}") for row in rows)


def test_the_rows_are_json_and_a_table(tmp_path: Path) -> None:
    """`--json` prints them as they are; the table names each document."""
    run, _ = run_of(tmp_path)
    rows = audit(run, 1)
    assert json.loads(json.dumps(rows)) == rows
    lines = audit_table(rows).splitlines()
    assert lines[0].split() == ["sample", "source", "document", "tokens"]
    assert len(lines) == len(rows) + 1
    assert all(row["id"] in line for row, line in zip(rows, lines[1:], strict=True))


def test_bare_shards_are_audited_by_place(tmp_path: Path) -> None:
    """Without documents.parquet a document is its shard and number."""
    write_corpus(tmp_path, LENGTHS)
    for path in (*tmp_path.glob("*.*"), *tmp_path.rglob("*.crc")):
        path.unlink()
    rows = documents_of_step(DataPlan(open_manifest(tmp_path), Phases.constant(4, 16), seed=0), 1)
    assert {row["id"] for row in rows} == {None}
    assert f"{rows[0]['shard']}#{rows[0]['document']}" in audit_table(rows)


def test_another_corpus_than_the_runs_is_refused(tmp_path: Path) -> None:
    """Rebuilt with other text since: the answer would be a lie."""
    run, _ = run_of(tmp_path)
    write_corpus(tmp_path / "data", {"law": [[7, 1, 30, 13], [25]], "web": [[40, 2, 9]]})
    with pytest.raises(UserError, match="not the one that the run read"):
        audit(run, 1)


@pytest.mark.parametrize("step", [0, 51])
def test_a_step_that_never_was_is_refused(tmp_path: Path, step: int) -> None:
    """The message says which there are."""
    with pytest.raises(UserError, match="from 1 to 50"):
        audit(run_of(tmp_path)[0], step)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """With one message."""
    with pytest.raises(UserError, match="not a run"):
        audit(tmp_path, 1)


STAGES = [
    {"steps": 3},
    {"steps": 2, "mixture": {"web": 1}},
    {"steps": 2, "sequence_length": 8, "global_batch_size": 6},
]


@pytest.mark.parametrize("step", [2, 3, 4, 5, 6, 7])
def test_both_sides_of_a_border_are_told_right(tmp_path: Path, step: int) -> None:
    """In a batch ramp and in three stages, the rows are the tokens of the step's own batches."""
    run, _ = run_of(tmp_path)
    values = read_recipe(run / "recipe.yaml").model_dump(mode="json")
    values["train"] = {"global_batch_size": 4, "batch_ramp": {2: 2}}
    recipe = Recipe.model_validate({**values, "stages": STAGES})
    (run / "recipe.yaml").write_text(recipe.to_yaml())
    rows = audit(run, step)
    with Loader.from_recipe(recipe, start_step=step) as loader:
        (batch,) = next(loader.steps())
    assert batch.tokens.shape == {2: (2, 16), 3: (4, 16), 4: (4, 16), 5: (4, 16), 6: (6, 8), 7: (6, 8)}[step]
    assert sorted({row["sample"] for row in rows}) == list(recipe.phases.interval(step))
    for place, sample in enumerate(recipe.phases.interval(step)):
        count = sum(row["last"] - row["first"] + 1 for row in rows if row["sample"] == sample)
        assert count == int(batch.target_counts_B[place]) + 1
    if step in (4, 5):
        assert {row["source"] for row in rows} == {"web"}
