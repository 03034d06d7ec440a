"""The recipes that go on from another's model: each is planned without it, and trains scaled down from a small one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.evaluate.small import CONFIG, write_model

from clapas.ledger.ledger import read_json_lines
from clapas.plan.plan import plan
from clapas.recipe.recipe import Recipe, read_recipe
from clapas.recipe.shipped import shipped_names
from clapas_data.corpus import read_corpus
from commands import Clapas, clapas_environment, python
from tune.examples import write_folder

RECIPES = [name for name in shipped_names("recipes") if name.startswith("tune/")]
LARGE = [name for name in RECIPES if read_recipe(name).model.parameters() > 10**9]
SCALED_DOWN = "tune/_scaled-down.yaml"
LENGTHS = {
    "tune/continue-lucie-7b": [
        *("stages.0.tokens=1536", "stages.1.tokens=768", "stages.1.sequence_length=48", "stages.1.global_batch_size=8"),
        "stages.0.micro_batch_size=null",
        "stages.1.micro_batch_size=null",
    ]
}
"""Overrides of recipes whose stages, corpora or examples have sizes of their own; the others get `train.steps=4`."""
TRAIN = "import sys, clapas\nclapas.train(clapas.read_recipe(sys.argv[1], sys.argv[2:]))"


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


def pairs() -> list[tuple[tuple[str, str], ...]]:
    """Preferences: each of two sides with one prompt."""
    return [((f"Question {n} ?", "Oui, bien sûr."), (f"Question {n} ?", "Non.")) for n in range(24)]


def data_of(recipe: Recipe) -> Callable[[Path, Path, Clapas], None]:
    """What makes the data that a recipe reads, as `FOLDER/data`."""
    name = recipe.objective.name
    if name == "language_modelling":
        return lambda folder, base, clapas: running_text(folder, base, clapas, recipe.data.path.name)
    kind = "pairs" if name in ("dpo", "ipo", "orpo") else "conversations"
    texts = pairs() if kind == "pairs" else conversations()
    return lambda folder, base, _: write_folder(folder / "data", base, texts, kind=kind, held_out=4) and None


@pytest.mark.parametrize("name", RECIPES)
def test_it_trains_scaled_down(name: str, clapas: Clapas, tmp_path: Path) -> None:
    """From another's weights, through its stages, checkpoints and evaluations, its own keys as they are."""
    write_model(tmp_path / "base")
    data_of(read_recipe(name))(tmp_path, tmp_path / "base", clapas)
    where = ["model.from=base", "data.path=data", "run_dir=run"]
    command = [python(), "-c", TRAIN, name, SCALED_DOWN, *where, *LENGTHS.get(name, ["train.steps=4"])]
    ended = subprocess.run(command, cwd=tmp_path, env=clapas_environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    rows = read_json_lines(tmp_path / "run/metrics.jsonl")
    steps = [row for row in rows if "split" not in row]
    assert len(steps) >= 4
    assert (tmp_path / "run/checkpoints").is_dir()
    if name == "tune/continue-lucie-7b":
        assert [row["stage"] for row in steps] == ["adapt"] * 4 + ["long"] * 2
        assert steps[0]["learning_rate"] == read_recipe(name).optimizer.lr
        assert steps[-1]["learning_rate"] == pytest.approx(0.1 * read_recipe(name).optimizer.lr)


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
    arguments = ("data.path=data", "run_dir=run", "data.packing=best_fit", *LENGTHS["tune/continue-lucie-7b"])
    result = clapas("train", "tune/continue-lucie-7b", SCALED_DOWN, *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "models/Lucie-7B" in result.stderr
    assert not (tmp_path / "run/checkpoints").exists()


def test_the_small_model_has_the_sizes_of_the_overlay() -> None:
    """The base that these tests make is one that the overlay is written for."""
    recipe = read_recipe("tune/continue-lucie-7b", [SCALED_DOWN, *LENGTHS["tune/continue-lucie-7b"]])
    facts = recipe.model.facts()
    assert {key: facts[key] for key in ("hidden_size", "vocab_size", "head_dim")} == {
        "hidden_size": CONFIG.hidden_size,
        "vocab_size": CONFIG.vocab_size,
        "head_dim": CONFIG.head_dim,
    }
