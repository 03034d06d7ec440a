"""A real run, and documents that must go: no resume, a branch that never reads them, and evidence that stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.release.drafts import small_evidence, small_facts

from clapas.loader.audit import audit, documents_of_step
from clapas.loader.plan import DataPlan
from clapas.loader.removal import remove_documents
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas.release.documents.card.card import card as french_card
from clapas.train.other_run import refuse_other_run
from commands import Clapas


@pytest.fixture
def folder(trained_run: Path, test_data: Path, tmp_path: Path) -> Path:
    """Copies of the finished run and of its data, with the paths of these."""
    shutil.copytree(trained_run, tmp_path / "runs/stem")
    shutil.copytree(test_data, tmp_path / "data")
    recipe = tmp_path / "runs/stem/recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(test_data), "data"))
    return tmp_path


def test_a_removal_ends_the_run_and_a_branch_never_reads_the_documents(
    folder: Path, clapas: Clapas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 3 had read one of them, steps 21 and 22 would have read the other."""
    monkeypatch.chdir(folder)
    longer = read_recipe("test", ["data.path=data", "train.steps=22"])
    read = audit(Path("runs/stem"), 3)[0]
    coming = documents_of_step(DataPlan.of_recipe(longer), 21)[0]
    Path("ids.txt").write_text(f"{read['id']}\n{coming['id']}\n")
    removed = clapas("data", "remove", "data", "--ids", "ids.txt", "--reason", "asked for", "--json", cwd=folder)
    assert removed.returncode == 0, removed.stderr
    (told,) = json.loads(removed.stdout)["runs"]
    steps = {row["id"]: row["steps"] for row in told["documents"]}
    assert (told["run"], told["steps"]) == ("runs/stem", [1, 20])
    assert 3 in steps[read["id"]]
    assert audit(Path("runs/stem"), 3)[0] == read

    stem = ("train", "test", "data.path=data", "run_dir=runs/stem")
    refused = clapas(*stem, cwd=folder)
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    assert "removing documents starts a new run" in refused.stderr
    assert "branch.checkpoint=runs/stem/checkpoints/step-00000020" in refused.stderr

    recipe = read_recipe("test", ["data.path=data", "run_dir=runs/stem"])
    plan = DataPlan.of_recipe(recipe)
    with pytest.raises(UserError, match="removing documents starts a new run"):  # what `launch` asks beforehand
        refuse_other_run(recipe, plan)

    branch = (
        "branch.checkpoint=runs/stem/checkpoints/step-00000020",
        "train.steps=22",
        "schedule.name=constant",
    )
    ended = clapas("train", "test", "data.path=data", "run_dir=runs/branch", *branch, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    plan = DataPlan.of_recipe(longer)
    for step in (21, 22):
        rows = audit(Path("runs/branch"), step)
        assert not {read["id"], coming["id"]} & {row["id"] for row in rows}
        assert rows == documents_of_step(plan, step)
    again = remove_documents(Path("data"), Path("ids.txt"))
    by_run = {row["run"]: row for row in again["runs"]}
    assert by_run["runs/branch"]["documents"] == []
    assert by_run["runs/branch"]["branch"]["step"] == 20
    assert by_run["runs/stem"]["documents"] == told["documents"]
    assert "2 documents en ont été retirés depuis cet entraînement" in card(Path("runs/stem"))
    assert "2 documents en avaient été retirés avant cet entraînement ; il part d'un" in card(Path("runs/branch"))


def card(run: Path) -> str:
    """The model card of a run, in French, its no-break spaces as plain ones."""
    facts = small_facts(small_evidence(run))
    return french_card(facts, "fr").translate({0xA0: " ", 0x202F: " "})
