"""Another model's weights, extended: to words that it did not know, and to texts longer than it learned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
import transformers

from clapas.checkpoint.reader import open_checkpoint
from clapas.evaluate.load import load, tokenizer_folder_of
from clapas.ledger.ledger import read_json_lines
from clapas.model.hf_weights import EMBEDDING
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas.train.first_weights import open_first_weights
from clapas_data.extension import read_extension
from clapas_data.manifest import open_manifest
from clapas_data.tokenizer.extend import extend
from commands import Clapas

VOCABULARY, ADDED = 2048, 300
STEPLESS = ("optimizer.lr=1e-30", "train.steps=1", "schedule.warmup_steps=0", "evaluation.every=1")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas, test_data: Path) -> Path:
    """The test corpus, built with its tokenizer and 300 tokens more."""
    folder = tmp_path_factory.mktemp("extended")
    extend(test_data / "tokenizer", "test", ADDED, folder / "tokenizer")
    built = clapas("data", "build", "test", "--out", "data", "--tokenizer", "tokenizer", cwd=folder)
    assert built.returncode == 0, built.stderr
    return folder / "data"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas, trained_run: Path, test_data: Path) -> Path:
    """The trained run as a Hugging Face folder, its tokenizer beside."""
    folder = tmp_path_factory.mktemp("base") / "model"
    result = clapas("export", trained_run, "--out", folder, "--dtype", "fp32", cwd=folder.parent)
    if not (folder / "tokenizer.json").is_file():
        shutil.copytree(test_data / "tokenizer", folder, dirs_exist_ok=True)
    assert result.returncode == 0, result.stderr
    return folder


def recipe(folder: Path, base: Path, data: Path, model: dict[str, Any], length: int = 128) -> Path:
    """A recipe that begins with a base and says nothing twice."""
    values = {
        "name": "further",
        "model": {"from": str(base), **model},
        "data": {"path": str(data), "sequence_length": length},
        "train": {"steps": 4, "global_batch_size": 4},
        "optimizer": {"lr": 1e-3},
        "schedule": {"name": "constant"},
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


def validated(run: Path) -> float:
    """Bits per byte on held-out text, as last measured."""
    return [row["bits_per_byte"] for row in read_json_lines(run / "metrics.jsonl") if "split" in row][-1]


def test_new_words_begin_where_their_pieces_were(
    clapas: Clapas, base: Path, trained_run: Path, test_data: Path, extended: Path, tmp_path: Path
) -> None:
    """Before its first step the extended model says nearly what its base says, in fewer tokens; ZeRO-3, two ranks."""
    path = recipe(tmp_path, base, extended, {"vocab_size": VOCABULARY + ADDED + 12})
    settings = ("run_dir=run", "parallel.zero_stage=3", "--nproc", 2, *STEPLESS)
    result = clapas("train", path, *settings, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    old = load(base).model.model.embed_tokens.weight
    found = open_checkpoint(tmp_path / "run").tensor(EMBEDDING)
    assert torch.equal(found[:VOCABULARY], old)
    facts = read_extension(extended / "tokenizer")
    assert facts is not None
    wanted = torch.stack([old[pieces].mean(0) for pieces in facts.pieces])
    torch.testing.assert_close(found[VOCABULARY : VOCABULARY + ADDED], wanted)
    before, after = validated(trained_run), validated(tmp_path / "run")
    assert after == pytest.approx(before, rel=0.1)
    tokens, original = (open_manifest(folder).tokens("heldout") for folder in (extended, test_data))
    assert tokens < 0.97 * original


def test_words_that_a_run_has_learned_are_not_set_back(
    clapas: Clapas, base: Path, extended: Path, tmp_path: Path
) -> None:
    """A later run begins with them as they are where the data have gone and the base has not, whose tokenizer does not
    know them; nor does an export take that one for the run's."""
    shutil.copytree(extended, tmp_path / "data")
    path = recipe(tmp_path, base, Path("data"), {"vocab_size": VOCABULARY + ADDED})
    quick = ("train.steps=1", "evaluation.every=9", "evaluation.tokens=256")
    first = clapas("train", path, "run_dir=first", "optimizer.lr=1e-2", *quick, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (tmp_path / "data").rename(tmp_path / "moved")
    further = read_recipe(recipe(tmp_path, tmp_path / "first", tmp_path / "moved", {}))
    begun = open_first_weights(further).tensor(EMBEDDING)
    assert torch.equal(begun, open_checkpoint(tmp_path / "first").tensor(EMBEDDING))
    with pytest.raises(UserError, match="made its tokens"):
        tokenizer_folder_of(open_checkpoint(tmp_path / "first"))
    shutil.copytree(tmp_path / "moved/tokenizer", tmp_path / "first/tokenizer")
    assert tokenizer_folder_of(open_checkpoint(tmp_path / "first")) == tmp_path / "first/tokenizer"


def test_data_of_another_tokenizer_are_refused(clapas: Clapas, base: Path, extended: Path, tmp_path: Path) -> None:
    """Ids that mean other tokens are no continued pretraining, unless one says so; an extension goes through."""
    other = tmp_path / "other"
    shutil.copytree(base, other)
    content = orjson.loads((other / "tokenizer.json").read_bytes())
    vocabulary = content["model"]["vocab"]
    first, second = list(vocabulary)[300:302]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_bytes(orjson.dumps(content))
    path = recipe(tmp_path, other, extended, {"vocab_size": VOCABULARY + ADDED})
    result = clapas("train", path, "run_dir=run", *STEPLESS, cwd=tmp_path)
    assert result.returncode == 2
    assert "another tokenizer" in result.stderr
    assert "model.other_tokenizer=true" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "scaling",
    [
        pytest.param({"rope_type": "ntk", "factor": 4.0}, id="ntk", marks=pytest.mark.slow),
        pytest.param(
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
            id="yarn",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_longer_texts(clapas: Clapas, base: Path, test_data: Path, tmp_path: Path, scaling: dict[str, Any]) -> None:
    """Four times the length: it trains there, and stock transformers computes the same up to the last position."""
    path = recipe(tmp_path, base, test_data, {"max_position_embeddings": 512, "rope_scaling": scaling}, length=512)
    result = clapas("train", path, "run_dir=run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    losses = [row["loss"] for row in read_json_lines(tmp_path / "run/metrics.jsonl") if "grad_norm" in row]
    assert losses[-1] < losses[0]
    result = clapas("export", "run", "--out", "model", "--dtype", "fp32", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    fields = orjson.loads((tmp_path / "model/config.json").read_bytes())
    assert fields["max_position_embeddings"] == 512
    if scaling["rope_type"] == "yarn":
        assert fields["rope_parameters"]["original_max_position_embeddings"] == 128
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokens_BS = torch.arange(512)[None] % VOCABULARY
    with torch.no_grad():
        ours = load(tmp_path / "run").model(tokens_BS)
        torch.testing.assert_close(ours, theirs(tokens_BS).logits, rtol=1e-5, atol=1e-5)
