"""A branch is released as what it comes from: the licences of all that its weights have read count."""

from __future__ import annotations

from pathlib import Path

import orjson

from clapas.recipe.recipe import read_recipe
from clapas.release.evidence.ancestry import Lineage
from clapas.release.revisions import revision_name, short
from clapas.train.run_folder import read_run_recipe
from corpora import write_corpus


def run_of(runs: Path, name: str, data: Path, stem: str | None = None, *overrides: str) -> Path:
    """A run's recipe and ledger; stem: the run that it left."""
    run = runs / name
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(read_recipe("test", [f"data.path={data}", f"name={name}", *overrides]).to_yaml())
    checkpoint = str(runs / str(stem) / "checkpoints/step-00000002")
    events = [{"event": "branch", "checkpoint": checkpoint, "run": stem, "step": 2, "identity": "00"}] if stem else []
    (run / "ledger.jsonl").write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    return run


def test_a_branch_has_the_licences_of_its_stems(tmp_path: Path) -> None:
    """Two branches up a source is non-commercial, and the evidence says so; what is gone is named."""
    for name, licence in (("free", "MIT"), ("closed", "CC-BY-NC-4.0")):
        manifest = write_corpus(tmp_path / name, {"law": [[2000, 2000]]})
        source = manifest.sources["law"].model_copy(update={"licence": licence})
        manifest.model_copy(update={"sources": {"law": source}}).write(tmp_path / name)
    runs = tmp_path / "runs"
    run_of(runs, "first", tmp_path / "closed")
    run_of(runs, "second", tmp_path / "free", "first")
    third = run_of(runs, "third", tmp_path / "free", "second")
    lineage = lineage_of(third)
    assert [(data.of, data.relation) for data in lineage.data] == [
        ("third", "this"), ("second", "branch"), ("first", "branch"),
    ]  # fmt: skip
    assert [data.sources[0].licence for data in lineage.data] == ["MIT", "MIT", "CC-BY-NC-4.0"]
    assert not lineage.missing
    (tmp_path / "closed").rename(tmp_path / "elsewhere")
    assert lineage_of(third).missing == ["first"]
    (runs / "first").rename(runs / "away")
    assert lineage_of(third).missing == ["first"]


def test_a_branchs_revision_is_named_by_the_tokens_that_were_read(tmp_path: Path) -> None:
    """By its stem, of another batch, until step 2, and by itself since: not by its own batch in all steps."""
    first = run_of(tmp_path, "first", tmp_path, None, "train.global_batch_size=8")
    second = run_of(tmp_path, "second", tmp_path, "first", "train.global_batch_size=4")
    length = read_run_recipe(first).data.sequence_length
    tokens = (2 * 8 + 1 * 4) * length
    assert revision_name(second, read_run_recipe(second), 3) == f"stage1-step3-tokens{short(tokens)}"
    assert revision_name(first, read_run_recipe(first), 3) == f"stage1-step3-tokens{short(3 * 8 * length)}"


def lineage_of(run: Path) -> Lineage:
    """What a run of four steps stands on."""
    lineage = Lineage(crawled=())
    lineage.follow(run, read_run_recipe(run), 4, "this")
    return lineage
