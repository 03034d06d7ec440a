"""`clapas import`: an open model's folder becomes a checkpoint like a run's, bit for bit, and comes back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import orjson
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.evaluate.small import CONFIG, EOS, write_model

from clapas.checkpoint.inspect import verify_checkpoints
from clapas.evaluate.load import load
from clapas.evaluate.stop_ids import stop_ids
from clapas.model.config import ModelConfig
from clapas.recipe.errors import UserError
from clapas.release.export import export
from clapas.release.import_model import import_model
from commands import Clapas

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
SHAPES = {
    "Llama": {},
    "tied Qwen2": {"architecture": "qwen2", "tie_word_embeddings": True},
    "experts": {"architecture": "qwen3_moe", **EXPERTS},
}


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All of a folder's."""
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_there_and_back_nothing_changes(shape: str, dtype: Literal["fp32", "bf16"], tmp_path: Path) -> None:
    """The same names, types and bits after import and export, tokenizer included; files cut anywhere."""
    write_model(tmp_path / "base", ModelConfig.model_validate({**CONFIG.facts(), **SHAPES[shape]}))
    if dtype == "bf16":
        halved = {name: tensor.bfloat16() for name, tensor in tensors(tmp_path / "base").items()}
        save_file(halved, tmp_path / "base/model.safetensors", metadata={"format": "pt"})
    before = tensors(tmp_path / "base")
    checkpoint = import_model(tmp_path / "base", tmp_path / "imported", file_elements=5000)
    assert checkpoint == tmp_path / "imported/checkpoints/step-00000000"
    export(tmp_path / "imported", tmp_path / "back", dtype=dtype)
    after = tensors(tmp_path / "back")
    assert {name: tensor.dtype for name, tensor in before.items()} == {name: t.dtype for name, t in after.items()}
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    for name in ("tokenizer.json", "config.json"):
        ours, theirs = (orjson.loads((tmp_path / folder / name).read_bytes()) for folder in ("back", "base"))
        assert {**ours, "dtype": 0, "torch_dtype": 0} == {**theirs, "dtype": 0, "torch_dtype": 0}, name


def test_what_ends_a_text_stays_so(tmp_path: Path) -> None:
    """The ids of a folder's `generation_config.json` end the imported model's texts, and are exported again."""
    write_model(tmp_path / "base")
    told = {"eos_token_id": [EOS, 65]}
    (tmp_path / "base/generation_config.json").write_bytes(orjson.dumps(told))
    import_model(tmp_path / "base", tmp_path / "imported")
    assert stop_ids(load(tmp_path / "imported")) == {EOS, 65}
    export(tmp_path / "imported", tmp_path / "back")
    assert orjson.loads((tmp_path / "back/generation_config.json").read_bytes())["eos_token_id"] == [EOS, 65]


@pytest.mark.parametrize(("said", "message"), [(b'{"eos_token_id": 99999}', "99999 of a vocabulary"), (b"{", "JSON")])
def test_an_end_that_the_model_does_not_have_is_refused(tmp_path: Path, said: bytes, message: str) -> None:
    """Such a model would write without end; told at the import, and nothing is written."""
    write_model(tmp_path / "base")
    (tmp_path / "base/generation_config.json").write_bytes(said)
    with pytest.raises(UserError, match=message):
        import_model(tmp_path / "base", tmp_path / "imported")
    assert not (tmp_path / "imported").exists()


def test_it_is_read_like_a_run(tmp_path: Path, clapas: Clapas) -> None:
    """`checkpoint verify`, loading with the tokenizer beside it, and generation without naming one."""
    model = write_model(tmp_path / "base")
    result = clapas("import", "base", "--out", "imported", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "imported/checkpoints/step-00000000"
    assert [row["problem"] for row in verify_checkpoints(tmp_path / "imported")] == [None]
    loaded = load(tmp_path / "imported", device="cpu")
    assert loaded.sequence_length == CONFIG.max_position_embeddings
    assert loaded.tokenizer.get_vocab_size() == CONFIG.vocab_size
    tokens = torch.arange(50)[None]
    with torch.no_grad():
        assert torch.equal(loaded.model(tokens), model(tokens))


def test_what_is_no_model_is_refused_and_nothing_written(tmp_path: Path) -> None:
    """An empty folder, weights that lack a tensor, an `out` that holds something."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"not a model to import[\s\S]*no config\.json"):
        import_model(tmp_path / "empty", tmp_path / "out")
    write_model(tmp_path / "base")
    kept = tensors(tmp_path / "base")
    kept.pop("model.norm.weight")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(UserError, match="will not be replaced"):
        import_model(tmp_path / "base", tmp_path / "full")
    save_file(kept, tmp_path / "base/model.safetensors")
    with pytest.raises(UserError, match=r"model\.norm\.weight"):
        import_model(tmp_path / "base", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "empty", "full"]
