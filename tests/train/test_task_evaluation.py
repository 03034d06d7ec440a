"""Tasks while a model trains: the figures of its checkpoint, on any layout, and not a bit of the run changed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from commands import Clapas

pytest.importorskip("lm_eval")

MCQ = """task: mots
dataset_path: json
dataset_kwargs: {data_files: {test: mots.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{q}}"
doc_to_choice: c
doc_to_target: a
metric_list: [{metric: acc}]
metadata: {version: 3}
"""
SMALL = (
    "train.steps=4",
    "schedule.warmup_steps=1",
    "checkpoint.every=2",
    "evaluation.every=4",
    "evaluation.tokens=200",
    "data.sequence_length=64",
)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve questions of two answers."""
    folder = tmp_path_factory.mktemp("tasks")
    words = ["préavis", "congé", "salaire", "contrat", "accord", "repos"]
    rows = [{"q": f"Le {word} de", "c": ["travail", f"{word} un"], "a": n % 2} for n, word in enumerate(words * 2)]
    (folder / "mots.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    (folder / "mots.yaml").write_text(MCQ)
    return folder / "mots.yaml"


def trained(clapas: Clapas, folder: Path, data: Path, *overrides: str, ranks: int = 1) -> list[dict[str, Any]]:
    """The rows of a run of four steps."""
    result = clapas(
        "train", "test", f"data.path={data}", "run_dir=run", *SMALL, *overrides, "--nproc", ranks, cwd=folder
    )
    assert result.returncode == 0, result.stderr
    return rows_of(folder / "run")


def rows_of(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl."""
    return [orjson.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]


def losses(rows: Sequence[dict[str, Any]]) -> list[tuple[int, float, float | None]]:
    """What training and validation tell."""
    return [(row["step"], row["loss"], row.get("grad_norm")) for row in rows if row.get("split") != "tasks"]


def test_tasks_change_nothing_and_are_those_of_the_checkpoint(
    clapas: Clapas, test_data: Path, task: Path, tmp_path: Path
) -> None:
    """ZeRO-3 on two ranks: the run's losses bit for bit without tasks, and `clapas eval`'s accuracy at the end."""
    with_tasks = (f"evaluation.tasks=[{task}]", "evaluation.tasks_every=2", "parallel.zero_stage=3")
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    rows = trained(clapas, tmp_path / "with", test_data, *with_tasks, ranks=2)
    plain = trained(clapas, tmp_path / "without", test_data, "parallel.zero_stage=3", ranks=2)
    assert losses(rows) == losses(plain)
    told = [row for row in rows if row.get("split") == "tasks"]
    assert [row["step"] for row in told] == [2, 4]
    run = tmp_path / "with/run"
    result = clapas("eval", run, "--tasks", task, "--record", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    measured = orjson.loads(result.stdout)
    assert measured["tasks"]["mots"]["metrics"]["acc"] == told[-1]["mots/acc"]
    events = [orjson.loads(line) for line in (run / "ledger.jsonl").read_bytes().splitlines()]
    in_run = [event for event in events if event["event"] == "tasks"][-1]
    assert in_run["tasks"]["mots"]["version"] == 3
    assert in_run["harness"]["lm_eval"]
    assert in_run["seeds"]["fewshot"] == 1
    kept = next(event for event in events if event["event"] == "measured")
    content = orjson.loads((run / kept["file"]).read_bytes())
    assert content["seal"] == (run / "checkpoints/step-00000004/COMMITTED").read_text().strip() == kept["seal"]
    items = (run / "evaluations" / content["items"]["file"]).read_bytes().splitlines()
    assert len(items) == 12
    assert orjson.loads(items[0])["arguments"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["evaluation.tasks=[belebele_fra_Latn]"], "a run measures tasks in files alone"),
        (["evaluation.tasks=[nowhere.yaml]"], "no such task"),
        (["evaluation.tasks=[local]", "parallel.zero_stage=3"], "a model in parts cannot generate"),
    ],
)
def test_what_cannot_run_is_told_before_the_start(
    test_data: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], said: str
) -> None:
    """Preflight names the task and the way out, without importing torch or the harness."""
    from clapas.recipe.errors import UserError
    from clapas.recipe.recipe import read_recipe
    from clapas.train.preflight import preflight

    recipe = read_recipe("test", [f"data.path={test_data}", *overrides])
    with pytest.raises(UserError, match=said):
        preflight(recipe, 1)


def test_a_missing_library_is_told(test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without lm-eval: what to install."""
    from clapas.evaluate.harness import library
    from clapas.recipe.errors import UserError
    from clapas.recipe.recipe import read_recipe
    from clapas.train.preflight import preflight

    monkeypatch.setattr(library, "find_spec", lambda _: None)
    recipe = read_recipe("test", [f"data.path={test_data}", "evaluation.tasks=[clapas_fr_grammaire]"])
    with pytest.raises(UserError, match=r"pip install 'clapas\[eval\]'"):
        preflight(recipe, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout", [("parallel.sequence=2",), ("parallel.tensor=2",), ("precision=bf16", "parallel.zero_stage=2")]
)
def test_any_layout_judges_as_its_checkpoint(
    clapas: Clapas, test_data: Path, task: Path, tmp_path: Path, layout: tuple[str, ...]
) -> None:
    """Slices of sequences, slices of layers, 16-bit weights: each choice is as likely as the checkpoint finds it."""
    rows = trained(clapas, tmp_path, test_data, f"evaluation.tasks=[{task}]", *layout, ranks=2)
    told = [row for row in rows if row.get("split") == "tasks"]
    result = clapas("eval", "run", "--tasks", task, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    wanted = orjson.loads(result.stdout)["tasks"]["mots"]["metrics"]["acc"]
    assert told[-1]["mots/acc"] == pytest.approx(wanted, abs=0.09 if "precision=bf16" in layout else 0)


@pytest.mark.slow
def test_a_resume_goes_on_as_if_nothing_was_measured(
    clapas: Clapas, test_data: Path, task: Path, tmp_path: Path
) -> None:
    """From the checkpoint of step 2, whose step measured tasks: losses and figures of the run that never stopped."""
    with_tasks = (f"evaluation.tasks=[{task}]", "evaluation.tasks_every=2")
    rows = trained(clapas, tmp_path, test_data, *with_tasks, ranks=2)
    shutil.rmtree(tmp_path / "run/checkpoints/step-00000004")
    again = trained(clapas, tmp_path, test_data, *with_tasks, ranks=2)
    assert losses(again) == losses(rows)
    figures = [[row["mots/acc"] for row in run if row.get("split") == "tasks"] for run in (rows, again)]
    assert figures[0] == figures[1]
    assert len(figures[0]) == 2
