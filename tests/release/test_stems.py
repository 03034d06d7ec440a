"""A branch is released as what it comes from: the licences of all that its weights have read count."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas.release.release import check_stems
from corpora import write_corpus


def run_of(runs: Path, name: str, data: Path, stem: str | None = None) -> Path:
    """A run's recipe and ledger; stem: the run that it left."""
    run = runs / name
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(read_recipe("test", [f"data.path={data}", f"name={name}"]).to_yaml())
    checkpoint = str(runs / str(stem) / "checkpoints/step-00000002")
    events = [{"event": "branch", "checkpoint": checkpoint, "run": stem, "step": 2, "identity": "00"}] if stem else []
    (run / "ledger.jsonl").write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    return run


def test_a_branch_has_the_licences_of_its_stems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two branches up a source is non-commercial; what is gone is said."""
    for name, licence in (("free", "MIT"), ("closed", "CC-BY-NC-4.0")):
        manifest = write_corpus(tmp_path / name, {"law": [[20, 20]]})
        source = manifest.sources["law"].model_copy(update={"licence": licence})
        manifest.model_copy(update={"sources": {"law": source}}).write(tmp_path / name)
    runs = tmp_path / "runs"
    run_of(runs, "first", tmp_path / "closed")
    run_of(runs, "second", tmp_path / "free", "first")
    third = run_of(runs, "third", tmp_path / "free", "second")
    with pytest.raises(UserError, match=r"closed: the licence of the training data[\s\S]*law \(CC-BY-NC-4.0"):
        check_stems(third)
    check_stems(runs / "first")
    assert capsys.readouterr().err == ""
    (tmp_path / "closed/manifest.json").rename(tmp_path / "away")
    (tmp_path / "closed").rename(tmp_path / "elsewhere")
    check_stems(third)
    assert (
        f"the licences of what {runs / 'first'} read were not checked: no such corpus folder" in capsys.readouterr().err
    )
