"""The recipes that go on from another's model: each is planned without it, and trains scaled down from a small one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest
from tests.evaluate.small import CONFIG, write_model

from clapas.ledger.ledger import read_json_lines
from clapas.plan.plan import plan
from clapas.recipe.recipe import Recipe, read_recipe
from clapas.recipe.shipped import shipped_names
from clapas.train.learning_rate import learning_rate
from clapas_data.corpus import read_corpus
from commands import Clapas, clapas_environment, python
from tune.examples import write_folder

RECIPES = [name for name in shipped_names("recipes") if name.startswith("tune/")]
LARGE = [name for name in RECIPES if read_recipe(name).model.parameters() > 10**9]
SCALED_DOWN = "tune/_scaled-down.yaml"
STAGES = [
    *("stages.0.tokens=1536", "stages.1.tokens=768", "stages.1.sequence_length=48", "stages.1.global_batch_size=8"),
    *("stages.0.micro_batch_size=null", "stages.1.micro_batch_size=null"),
]
"""What continue-lucie-7b's stages become: four steps and two."""
KINDS: dict[str, Literal["conversations", "pairs", "labelled"]] = {
    "sft": "conversations",
    "distillation": "conversations",
    "kto": "labelled",
    "dpo": "pairs",
    "ipo": "pairs",
    "orpo": "pairs",
}
"""Objective -> the examples that it reads. (grpo's recipes are small as they are, and trained in tests/tune/grpo.)"""
TRAINED = [name for name in RECIPES if read_recipe(name).objective.name in ("language_modelling", *KINDS)]
TRAIN_ALL = """
import json, sys, clapas

for name, overrides in json.load(sys.stdin).items():
    print(name, file=sys.stderr)
    clapas.train(clapas.read_recipe(name, overrides))
"""


def running_text(folder: Path, base: Path, clapas: Clapas, corpus: str) -> None:
    """Data with the sources and weights of a shipped corpus, of a few words each."""
    lines = [f"name: {corpus}", "held_out: [{fraction: 0.2}]", "decontaminate: null", "sources:"]
    for name, source in read_corpus(corpus, ["sources.own.files=[own/*.txt]"]).sources.items():
        (folder / "texts" / name).mkdir(parents=True)
        for number in range(30):
            text = f"Texte {number} de {name}. " + " ".join(f"L'article {number * place}." for place in range(20))
            (folder / "texts" / name / f"{number}.txt").write_text(text)
        lines.append(f"  {name}: {{folder: texts/{name}, licence: CC0-1.0, weight: {source.weight}}}")
    (folder / "corpus.yaml").write_text("\n".join(lines))
    built = clapas("data", "build", "corpus.yaml", "--out", "data", "--tokenizer", base, cwd=folder)
    assert built.returncode == 0, built.stderr


def conversations() -> list[tuple[tuple[str, str], ...]]:
    """One question and answer each, of fewer bytes than the small model has positions."""
    return [((f"Question {n} ?", f"Réponse {n}, en bref."),) for n in range(24)]


def write_data(recipe: Recipe, folder: Path, base: Path, clapas: Clapas) -> None:
    """The data that a recipe reads, as `folder/data`, of the base's tokenizer."""
    kind = KINDS.get(recipe.objective.name)
    if kind is None:
        running_text(folder, base, clapas, recipe.data.path.name)
        return
    texts = conversations()
    if kind == "pairs":
        texts = [(chosen, (chosen[0], "Je ne sais pas.")) for (chosen,) in texts]
    labels = [{"label": bool(number % 2)} for number in range(len(texts))]
    columns = {"columns": {"label": pa.bool_()}, "values": labels} if kind == "labelled" else {}
    write_folder(folder / "data", base, texts, kind=kind, held_out=4, **columns)


def test_each_trains_scaled_down(clapas: Clapas, tmp_path: Path) -> None:
    """From another's weights, through its stages, checkpoints and evaluations, its own keys as they are."""
    write_model(tmp_path / "base")
    asked: dict[str, list[str]] = {}
    for number, name in enumerate(TRAINED):
        recipe, folder = read_recipe(name), tmp_path / f"run-{number}"
        write_data(recipe, folder, tmp_path / "base", clapas)
        length = STAGES if recipe.stages else ["train.steps=4", "train.tokens=null"]
        where = ["model.from=base", f"data.path={folder}/data", f"run_dir={folder}/run"]
        asked[name] = [SCALED_DOWN, *where, *length]
    command = [python(), "-c", TRAIN_ALL]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env=clapas_environment(),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    for number, name in enumerate(TRAINED):
        rows = read_json_lines(tmp_path / f"run-{number}/run/metrics.jsonl")
        steps = [row for row in rows if "split" not in row]
        assert len(steps) == (6 if read_recipe(name).stages else 4), name
        assert any(row.get("split") == "heldout" for row in rows), name


def test_continued_pretraining_warms_up_and_decays_again() -> None:
    """One schedule over both stages: up to the recipe's rate, and down to a tenth of it in the long texts' stage."""
    recipe = read_recipe("tune/continue-lucie-7b")
    peak, steps = recipe.optimizer.lr, recipe.total_steps
    warmup = recipe.courses[0].schedule.warmup_steps
    assert learning_rate(recipe, warmup) == peak
    assert learning_rate(recipe, 1) < 0.1 * peak
    assert learning_rate(recipe, steps) == pytest.approx(0.1 * peak)
    assert recipe.phases.at(steps).sequence_length == 16384
    assert recipe.phases.tokens_after(steps) == pytest.approx(20e9, rel=1e-3)


@pytest.mark.parametrize("name", LARGE)
def test_it_is_planned_without_its_model(name: str) -> None:
    """The sizes stand in the recipe: a login node knows what a run will need before anything is downloaded."""
    recipe = read_recipe(name)
    assert recipe.model.from_ is not None
    assert not recipe.model.from_.exists()
    found = plan(recipe, "jean-zay", 8)
    assert found["as_written"]["problem"] is None
    assert found["layouts"]


def test_without_its_model_it_does_not_start(clapas: Clapas, tmp_path: Path) -> None:
    """Never from drawn weights instead: one message that names the folder."""
    write_model(tmp_path / "base")
    write_folder(tmp_path / "data", tmp_path / "base", conversations())
    arguments = ("data.path=data", "run_dir=run", "data.packing=best_fit", *STAGES)
    result = clapas("train", "tune/continue-lucie-7b", SCALED_DOWN, *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "models/Lucie-7B" in result.stderr
    assert not (tmp_path / "run/checkpoints").exists()


def test_the_small_model_has_the_sizes_of_the_overlay() -> None:
    """The base that these tests make is one that the overlay is written for."""
    recipe = read_recipe("tune/continue-lucie-7b", [SCALED_DOWN, *STAGES])
    facts = recipe.model.facts()
    assert {key: facts[key] for key in ("hidden_size", "vocab_size", "head_dim")} == {
        "hidden_size": CONFIG.hidden_size,
        "vocab_size": CONFIG.vocab_size,
        "head_dim": CONFIG.head_dim,
    }
