"""Loading: three kinds of folder, and one message for whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import torch
from tests.evaluate.small import CONFIG, write_model, write_tokenizer

from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.evaluate.load import load
from clapas.recipe.errors import UserError


def test_a_hugging_face_folder(tmp_path: Path) -> None:
    """Weights, ids and length are the folder's."""
    model = write_model(tmp_path)
    loaded = load(tmp_path, device="cpu")
    assert all(torch.equal(p, loaded.model.get_parameter(name)) for name, p in model.named_parameters())
    assert (loaded.special.eos, loaded.sequence_length, loaded.data) == (256, 96, None)
    assert not loaded.model.training


def test_a_run_and_its_checkpoint_are_the_same_model(trained_run: Path, test_data: Path) -> None:
    """A run stands for its newest checkpoint; the weights are the fp32 masters."""
    checkpoint = find_checkpoint(trained_run)
    reader = CheckpointReader(checkpoint)
    for path in (trained_run, checkpoint):
        loaded = load(path, device="cpu")
        assert loaded.source == checkpoint
        assert loaded.data == test_data
        for name in reader.names():
            assert torch.equal(loaded.model.get_parameter(name), reader.tensor(name))


def nothing(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def no_folder(folder: Path) -> None:
    nothing(folder)
    folder.rmdir()


def not_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def no_eos(folder: Path) -> None:
    write_tokenizer(folder, eos_token=None)


def spoilt_tokenizer(folder: Path) -> None:
    content = orjson.loads((folder / "tokenizer.json").read_bytes())
    content["model"]["type"] = "none"
    (folder / "tokenizer.json").write_bytes(orjson.dumps(content))


def small_vocabulary(folder: Path) -> None:
    write_model(folder, CONFIG.model_copy(update={"vocab_size": 100}))


def another_architecture(folder: Path) -> None:
    fields = orjson.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_bytes(orjson.dumps({**fields, "model_type": "gpt2"}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (no_folder, "no such model"),
        (nothing, "not a model"),
        (not_json, "not JSON"),
        (a_list, "not a model's config"),
        (no_weights, "no weights here"),
        (no_tokenizer, "no tokenizer here"),
        (no_eos, "no EOS"),
        (spoilt_tokenizer, "not a tokenizer"),
        (small_vocabulary, "the tokenizer has more ids than the model"),
        (another_architecture, "model_type: 'gpt2'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    """One UserError that names the place."""
    folder = tmp_path / "model"
    write_model(folder)
    damage(folder)
    with pytest.raises(UserError, match=said) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


def test_a_run_whose_tokenizer_has_moved(trained_run: Path, test_data: Path, tmp_path: Path) -> None:
    """The message says how to name it; naming it helps."""
    hidden = test_data / "tokenizer"
    moved = hidden.rename(tmp_path / "tokenizer")
    try:
        with pytest.raises(UserError, match="--tokenizer"):
            load(trained_run)
        assert load(trained_run, tokenizer=moved).special.eos
    finally:
        moved.rename(hidden)


def test_an_unfinished_checkpoint_is_no_model(tmp_path: Path) -> None:
    """A folder without COMMITTED is refused, not half read."""
    folder = tmp_path / "step-00000010"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="no checkpoint here"):
        load(folder)
