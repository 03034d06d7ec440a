"""The launch recipes: each trains, scaled down by one file of overrides, on sources of its own names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from clapas.ledger.ledger import read_json_lines
from clapas.recipe.recipe import Recipe, read_recipe
from clapas.recipe.shipped import shipped_folder, shipped_names
from clapas_data.corpus import read_corpus
from commands import Clapas, clapas_environment, python

RECIPES = [name for name in shipped_names("recipes") if name.startswith("pretrain/")]
SCALED_DOWN = "pretrain/_scaled-down.yaml"
TRAIN_ALL = """
import sys
import clapas

data, scaled_down, *recipes = sys.argv[1:]
for name in recipes:
    clapas.train(clapas.read_recipe(name, [scaled_down, f"data.path={data}"]))
"""


@pytest.fixture(scope="module")
def french(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas, test_data: Path) -> Path:
    """Data with the sources and weights of the corpus `french`, of a few words each."""
    folder = tmp_path_factory.mktemp("french")
    lines = ["name: french", "held_out: [{fraction: 0.2}]", "decontaminate: null", "sources:"]
    for name, source in read_corpus("french").sources.items():
        (folder / name).mkdir()
        for number in range(60):
            text = f"Texte {number} de {name}. " + " ".join(f"L'article {number * place}." for place in range(20))
            (folder / name / f"{number}.txt").write_text(text)
        lines.append(f"  {name}: {{folder: {name}, licence: CC0-1.0, weight: {source.weight}}}")
    (folder / "corpus.yaml").write_text("\n".join(lines))
    built = clapas("data", "build", "corpus.yaml", "--out", "data", "--tokenizer", test_data / "tokenizer", cwd=folder)
    assert built.returncode == 0, built.stderr
    return folder / "data"


def test_each_recipe_trains_scaled_down(french: Path, tmp_path: Path) -> None:
    """Through both stages, their mixtures, a checkpoint and an evaluation; the rate ends at nothing."""
    command = [python(), "-c", TRAIN_ALL, str(french), SCALED_DOWN, *RECIPES]
    ended = subprocess.run(command, cwd=tmp_path, env=clapas_environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for name in RECIPES:
        rows = read_json_lines(tmp_path / "runs" / name.rpartition("/")[2] / "metrics.jsonl")
        steps = [row for row in rows if "split" not in row]
        assert [row["stage"] for row in steps] == ["stable"] * 4 + ["anneal"] * 2
        assert steps[-1]["learning_rate"] == 0
        assert steps[3]["learning_rate"] == read_recipe(name).optimizer.lr
        assert [row["step"] for row in rows if row.get("split") == "heldout"] == [3, 6]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_keeps_its_rules(name: str) -> None:
    """What _french.yaml says of tokens, learning rate, batch and shapes; and the size that the recipe's name says."""
    recipe = read_recipe(name)
    parameters, tokens = recipe.model.parameters(), recipe.phases.tokens_after(recipe.total_steps)
    assert parameters == pytest.approx(said(name), rel=0.05)
    assert tokens == pytest.approx(min(100 * parameters, 1.2e12), rel=0.02)
    flop = 6 * parameters * tokens
    assert recipe.optimizer.lr == pytest.approx(0.3118 * flop**-0.125, rel=0.03)
    assert batch_tokens(recipe) == pytest.approx(0.292 * flop**0.3271, rel=0.2)
    assert recipe.train.global_batch_size % 256 == 0
    model = recipe.model
    assert {model.hidden_size % 128, model.intermediate_size % 128, model.head_dim - 128} == {0}


def test_the_annealing_stage_reads_the_corpus_sources() -> None:
    """Its mixture names sources of the corpus file, whose weights are the stable stage's mixture."""
    corpus = read_corpus("french")
    for name in RECIPES:
        stable, anneal = read_recipe(name).all_stages
        assert stable.mixture is None
        assert anneal.mixture
        assert anneal.mixture.keys() == corpus.sources.keys()
        assert sum(anneal.mixture.values()) == pytest.approx(1)
    assert sum(source.weight or 0 for source in corpus.sources.values()) == pytest.approx(1)


def said(name: str) -> float:
    """Parameters as a recipe's first line says them."""
    text = (shipped_folder("recipes") / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    found = re.search(r"([\d.]+) (million|billion) parameters", text)
    assert found, text
    return float(found[1]) * {"million": 1e6, "billion": 1e9}[found[2]]


def batch_tokens(recipe: Recipe) -> int:
    """Tokens of an optimizer step."""
    return recipe.train.global_batch_size * recipe.data.sequence_length
