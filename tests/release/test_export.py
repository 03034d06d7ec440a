"""Export: stock transformers loads what was trained, exactly, and the folder is whole or absent."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import torch
import transformers
from safetensors.torch import load_file
from tests.evaluate.small import CONFIG, write_model, write_tokenizer

from clapas.checkpoint.reader import CheckpointReader, DamagedCheckpointError, find_checkpoint
from clapas.evaluate.completion import Options, complete_texts, encode_prompt
from clapas.evaluate.load import load
from clapas.evaluate.sampling import Sampling
from clapas.recipe.errors import UserError
from clapas.release.export import export, shard_bytes_of
from clapas.release.import_model import import_model
from commands import Clapas

TEXT = "Le salarié a droit à un congé de « naissance » d’une durée de 3 jours ouvrés, à l'œuvre."


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder."""
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("shard_bytes", [10**9, 60_000])
def test_transformers_computes_our_logits(trained_run: Path, tmp_path: Path, shard_bytes: int) -> None:
    """fp32, in one file or several: AutoModel and AutoTokenizer, nothing missing, logits to 1e-5, the same text."""
    assert_same_in_transformers(trained_run, tmp_path / "model", shard_bytes)


@pytest.mark.parametrize("at", [12, -5], ids=["in the header", "in a tensor"])
def test_a_damaged_checkpoint_is_not_exported(trained_run: Path, tmp_path: Path, at: int) -> None:
    """A bit is flipped: the file is named, and no folder appears."""
    checkpoint = shutil.copytree(find_checkpoint(trained_run), tmp_path / "step-00000020")
    (file,) = checkpoint.glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match=f"altered.*{file.name}|{file.name}"):
        export(checkpoint, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000020"]


def test_a_trained_model_of_experts_loads_in_transformers(tmp_path: Path, test_data: Path, clapas: Clapas) -> None:
    """Qwen3-MoE with YaRN, trained on two ranks that share its parameters (ZeRO-3)."""
    experts = ("num_experts=4", "num_experts_per_tok=2", "moe_intermediate_size=80")
    yarn = "{rope_type: yarn, factor: 4, original_max_position_embeddings: 32}"
    model = [f"model.{key}" for key in ("architecture=qwen3_moe", f"rope_scaling={yarn}", *experts)]
    steps = (
        "train.steps=3",
        "schedule.warmup_steps=1",
        "evaluation.every=100",
        "parallel.zero_stage=3",
    )
    arguments = ("train", "test", f"data.path={test_data}", "run_dir=run", *model, *steps, "--nproc", 2)
    result = clapas(*arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert_same_in_transformers(tmp_path / "run", tmp_path / "model", 10**9)


def assert_same_in_transformers(run: Path, out: Path, shard_bytes: int) -> None:
    """Export a run and compare what transformers makes of the folder with what we make of the run."""
    folder = export(run, out, dtype="fp32", shard_bytes=shard_bytes)
    loaded = load(run, device="cpu")
    theirs, info = cast(Any, transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True))
    tokenizer = cast(Any, transformers.AutoTokenizer.from_pretrained(folder))
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    tokens_BS = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    assert tokens_BS[0].tolist() == loaded.tokenizer.encode(TEXT, add_special_tokens=False).ids
    assert tokenizer.decode(tokens_BS[0]) == TEXT
    assert tokenizer.model_max_length == loaded.model.config.max_position_embeddings
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens_BS).logits, loaded.model(tokens_BS), rtol=1e-5, atol=1e-5)
    generated = theirs.generate(tokens_BS, do_sample=False, max_new_tokens=20, max_length=None)
    text = tokenizer.decode(generated[0, tokens_BS.shape[1] :], skip_special_tokens=True)
    options = Options(max_new_tokens=20, sampling=Sampling(temperature=0))
    assert [said.text for said in complete_texts(loaded, [encode_prompt(loaded, TEXT)], options)] == [text]


def test_bf16_is_the_masters_rounded(trained_run: Path, tmp_path: Path) -> None:
    """Each tensor is bit for bit its master in bfloat16, and the config says so."""
    folder = export(trained_run, tmp_path / "model")
    reader = CheckpointReader(find_checkpoint(trained_run))
    written = read_tensors(folder)
    assert set(written) == set(reader.names())
    assert all(torch.equal(tensor, reader.tensor(name).bfloat16()) for name, tensor in written.items())
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1  # readable alike
    fields = orjson.loads((folder / "config.json").read_bytes())
    assert fields["dtype"] == fields["torch_dtype"] == "bfloat16"


def test_a_loaded_export_is_the_run(trained_run: Path, tmp_path: Path) -> None:
    """Our own loader reads the folder back: the same weights, tokenizer and ids."""
    folder = export(trained_run, tmp_path / "model", dtype="fp32")
    run, back = load(trained_run, device="cpu"), load(folder, device="cpu")
    assert back.special == run.special
    assert back.model.config == run.model.config
    assert all(torch.equal(p, back.model.get_parameter(name)) for name, p in run.model.named_parameters())


def test_what_stands_there_is_never_replaced(trained_run: Path, tmp_path: Path) -> None:
    """A folder with files or a file is refused and left as it is; an empty folder is filled."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "card.md").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(UserError, match="will not be replaced"):
            export(trained_run, tmp_path / name)
    assert (tmp_path / "full" / "card.md").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert (export(trained_run, tmp_path / "empty") / "config.json").is_file()


def test_a_failure_leaves_nothing(trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor that cannot be read half way through leaves no folder, whole or partial."""
    read = CheckpointReader.read_into

    def read_into(self: CheckpointReader, name: str, *of_it: Any) -> None:
        if name.endswith("layers.1.mlp.up_proj.weight"):
            raise OSError(28, "No space left on device")
        read(self, name, *of_it)

    monkeypatch.setattr(CheckpointReader, "read_into", read_into)
    with pytest.raises(OSError, match="No space"):
        export(trained_run, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_another_tokenizer_is_refused(trained_run: Path, test_data: Path, tmp_path: Path) -> None:
    """The ids that the model learned belong to one tokenizer: a changed one is named with both hashes."""
    other = tmp_path / "tokenizer"
    shutil.copytree(test_data / "tokenizer", other)
    content = orjson.loads((other / "tokenizer.json").read_bytes())
    (other / "tokenizer.json").write_bytes(orjson.dumps(content))  # the same tokens, other bytes
    with pytest.raises(UserError, match="not the tokenizer that the model trained with"):
        export(trained_run, tmp_path / "model", tokenizer=other)
    assert not (tmp_path / "model").exists()


def test_no_checkpoint(tmp_path: Path) -> None:
    """A folder that is no run says so, and nothing is written."""
    with pytest.raises(UserError, match="no checkpoint here"):
        export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tied", [True, False])
def test_rows_that_no_token_has_are_removed(tmp_path: Path, tied: bool) -> None:
    """A vocabulary of 320 rows under a tokenizer of 259 ids: 259 rows are exported, and transformers loads them."""
    model = padded(tmp_path, tied)
    folder = export(tmp_path / "imported", tmp_path / "out", dtype="fp32")
    written = read_tensors(folder)
    for name in ("model.embed_tokens.weight", *(() if tied else ("lm_head.weight",))):
        assert torch.equal(written[name], model.get_parameter(name)[:259])
    assert ("lm_head.weight" in written) != tied
    theirs, info = cast(Any, transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True))
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    tokens_BS = torch.arange(1, 33)[None]
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens_BS).logits, model(tokens_BS)[..., :259], rtol=1e-5, atol=1e-5)
    assert theirs.config.vocab_size == 259


def test_kept_padding_is_declared_and_read_back(tmp_path: Path) -> None:
    """All rows are there, config.json says how many have a token, and our own loader takes the folder."""
    padded(tmp_path, tied=True)
    folder = export(tmp_path / "imported", tmp_path / "out", dtype="fp32", keep_padding=True)
    fields = orjson.loads((folder / "config.json").read_bytes())
    assert (fields["vocab_size"], fields["unpadded_vocab_size"]) == (320, 259)
    assert load(folder, device="cpu").model.config.vocab_size == 320
    assert transformers.AutoConfig.from_pretrained(folder).vocab_size == 320


def padded(tmp_path: Path, tied: bool) -> Any:
    """A model whose vocabulary is longer than its tokenizer, imported; returns it."""
    config = CONFIG.model_copy(update={"vocab_size": 320, "tie_word_embeddings": tied})
    model = write_model(tmp_path / "base", config)
    import_model(tmp_path / "base", tmp_path / "imported")
    return model


def test_any_tokenizer_becomes_one_that_every_reader_takes(tmp_path: Path) -> None:
    """Another class, code to run, a list of templates, no map of special tokens: the files that every version reads."""
    write_model(tmp_path / "base")
    templates = [{"name": "tools", "template": "…"}, {"name": "default", "template": "{{ messages[0].content }}\n"}]
    code = {"auto_map": {"AutoTokenizer": ["mine.Mine", None]}, "tokenizer_class": "TokenizersBackend"}
    write_tokenizer(tmp_path / "base", chat_template=templates, **code)
    import_model(tmp_path / "base", tmp_path / "imported")
    folder = export(tmp_path / "imported", tmp_path / "out")
    settings = orjson.loads((folder / "tokenizer_config.json").read_bytes())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "auto_map" not in settings
    assert settings["chat_template"] == (folder / "chat_template.jinja").read_text() == templates[1]["template"]
    special = orjson.loads((folder / "special_tokens_map.json").read_bytes())
    assert special == {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    theirs = cast(Any, transformers.AutoTokenizer.from_pretrained(folder))
    assert theirs.apply_chat_template([{"role": "user", "content": "Ça va ?"}], tokenize=False) == "Ça va ?"


def test_a_file_of_weights_is_as_large_as_asked(trained_run: Path, tmp_path: Path, clapas: Clapas) -> None:
    """`--shard-size` in the units of the field; what is no size is refused before anything is written."""
    result = clapas("export", trained_run, "--out", "model", "--shard-size", "100KB", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    sizes = [file.stat().st_size for file in (tmp_path / "model").glob("*.safetensors")]
    assert len(sizes) > 1
    index = orjson.loads((tmp_path / "model/model.safetensors.index.json").read_bytes())
    assert len(set(index["weight_map"].values())) == len(sizes)
    result = clapas("export", trained_run, "--out", "other", "--shard-size", "big", cwd=tmp_path)
    assert (result.returncode, (tmp_path / "other").exists()) == (2, False)
    assert "not a size" in result.stderr


@pytest.mark.parametrize(("text", "size"), [("5GB", 5 * 10**9), ("1.5 MiB", 1572864), ("700", 700), ("2kb", 2000)])
def test_sizes(text: str, size: int) -> None:
    """As other tools write them."""
    assert shard_bytes_of(text) == size
