"""A GGUF, read back by the package that knows the format: names, numbers, ids, positions, tokenizer, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import orjson
import pytest
import torch
from tests.release.gguf.small import LLAMA3, MODELS, ROWS, YARN, config_of, write_folder, write_small_tokenizer

from clapas.model.hf_reader import HuggingFaceWeights
from clapas.recipe.errors import UserError
from clapas.release.export import export
from clapas.release.gguf.about import about_export, about_release
from clapas.release.gguf.quantisations import read_names
from clapas.release.gguf.write import write_ggufs
from clapas_data.encode import token_ids
from release.drafts import small_answers, small_evidence


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small tokenizer of Llama 3's split."""
    folder = tmp_path_factory.mktemp("tokenizer")
    write_small_tokenizer(folder)
    return folder


def written(folder: Path, quantisation: str = "f32") -> Any:
    """The reader of the GGUF of a folder."""
    (file,) = write_ggufs(folder, (quantisation,), about_export("modèle"))
    return gguf.GGUFReader(file)


def value(reader: Any, key: str) -> Any:
    """What a key holds; None where it is missing."""
    field = reader.get_field(key)
    return None if field is None else field.contents()


def numbers(reader: Any) -> dict[str, np.ndarray]:
    """Every tensor in fp32, shaped as in torch."""
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(tuple(tensor.shape)[::-1])
        for tensor in reader.tensors
    }


NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
}
"""Hugging Face's names -> llama.cpp's, written down by hand: what its `llama-arch.cpp` asks for."""


def name_of(parameter: str) -> str:
    """A parameter's name in a GGUF."""
    if parameter in NAMES:
        return NAMES[parameter]
    layer, _, rest = parameter.removeprefix("model.layers.").partition(".")
    stem = rest.removesuffix(".weight").removesuffix(".bias")
    return f"blk.{layer}.{NAMES[stem]}.{'bias' if rest.endswith('.bias') else 'weight'}"


def turned(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows as llama.cpp turns them in Llamas: a head's first, then the one half a head further, and so on."""
    size = len(weight) // heads
    of_head = [half * size // 2 + pair for pair in range(size // 2) for half in (0, 1)]
    return weight[[head * size + row for head in range(heads) for row in of_head]]


@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_is_the_model_s(model: str, tokenizer: Path, tmp_path: Path) -> None:
    """In f32, bit for bit, by llama.cpp's names; a Llama's queries and keys reordered, Qwen's not; a tied head none."""
    config = config_of(model)
    parameters = write_folder(tmp_path, config, tokenizer).named_parameters()
    expected = {name_of(name): parameter.detach().numpy() for name, parameter in parameters}
    if config.architecture == "llama":
        for name in expected:
            for part, heads in ((".attn_q.", config.num_attention_heads), (".attn_k.", config.num_key_value_heads)):
                if part in name:
                    expected[name] = turned(expected[name], heads)
    reader = written(tmp_path)
    found = numbers(reader)
    factors = found.pop("rope_freqs.weight", None)
    assert (factors is not None) == ("Llama 3.1" in model)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert np.array_equal(found[name], tensor), name
    name = {"qwen3_moe": "qwen3moe"}.get(config.architecture, config.architecture)
    assert value(reader, "general.architecture") == name
    assert value(reader, f"{name}.rope.freq_base") == config.rope_theta
    assert value(reader, f"{name}.rope.dimension_count") == config.head_dim
    assert value(reader, f"{name}.attention.head_count_kv") == config.num_key_value_heads
    assert value(reader, f"{name}.context_length") == config.max_position_embeddings
    assert value(reader, f"{name}.attention.layer_norm_rms_epsilon") == np.float32(config.rms_norm_eps)
    assert value(reader, f"{name}.expert_used_count") == config.num_experts_per_tok


def test_stretched_positions(tokenizer: Path, tmp_path: Path) -> None:
    """Linear and YaRN by keys, of which attention_factor only what is not usual; Llama 3.1's by a tensor of factors."""
    found = {}
    for number, model in enumerate(("llama, interpolated", "llama, by YaRN", "llama, tied, as Llama 3.1", "llama")):
        write_folder(tmp_path / str(number), config_of(model), tokenizer)
        found[model] = written(tmp_path / str(number))
    scaling = "llama.rope.scaling."
    assert value(found["llama, interpolated"], f"{scaling}type") == "linear"
    assert value(found["llama, interpolated"], f"{scaling}factor") == 4.0
    yarn = found["llama, by YaRN"]
    assert value(yarn, f"{scaling}type") == "yarn"
    assert value(yarn, f"{scaling}original_context_length") == YARN["original_max_position_embeddings"]
    assert value(yarn, f"{scaling}attn_factor") == pytest.approx(1.5 / (0.1 * np.log(4) + 1))
    assert value(found["llama"], f"{scaling}type") == "none"
    factors = numbers(found["llama, tied, as Llama 3.1"])["rope_freqs.weight"]
    assert factors[0] == 1.0  # turns often within the original length
    assert factors[-1] == LLAMA3["factor"]
    assert (np.diff(factors) > -1e-6).all()


@pytest.mark.parametrize(
    ("quantisation", "matrices", "ends"), [("bf16", "BF16", "BF16"), ("q8_0", "Q8_0", "Q8_0"), ("q4_0", "Q4_0", "Q8_0")]
)
def test_quantised(quantisation: str, matrices: str, ends: str, tokenizer: Path, tmp_path: Path) -> None:
    """Norms, biases and routers stay f32, embedding and head take what hurts least, and the numbers stay near."""
    model = write_folder(tmp_path, config_of("qwen3_moe"), tokenizer)
    reader = written(tmp_path, quantisation)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert {kinds[name] for name in kinds if "norm" in name or "gate_inp" in name} == {"F32"}
    assert {kinds["token_embd.weight"], kinds["output.weight"]} == {ends}
    assert kinds["blk.0.attn_q.weight"] == kinds["blk.1.ffn_up_exps.weight"] == matrices
    found, most = numbers(reader), {"BF16": 2.0**-8, "Q8_0": 1 / 220, "Q4_0": 1 / 7.9}
    for name, parameter in model.named_parameters():
        expected = parameter.detach().numpy()
        off = np.abs(found[name_of(name)] - expected).max()
        assert off <= np.abs(expected).max() * most.get(kinds[name_of(name)], 0), name


def test_rows_that_are_no_multiple_of_32(tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """These tensors are bf16, and named."""
    write_folder(tmp_path, config_of("llama", intermediate_size=100), tokenizer, torch.bfloat16)
    reader = written(tmp_path, "q4_0")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.0.ffn_down.weight"] == kinds["blk.1.ffn_down.weight"] == "BF16"
    assert kinds["blk.0.ffn_up.weight"] == "Q4_0"
    said = capsys.readouterr().err
    assert "modèle-q4_0.gguf: rows that are no multiple of 32" in said
    assert "blk.0.ffn_down.weight, blk.1.ffn_down.weight" in said


@pytest.mark.parametrize(("split", "name"), [("llama3", "llama-bpe"), ("qwen2", "qwen2")])
def test_the_tokenizer(split: Any, name: str, tmp_path: Path) -> None:
    """Every token at its id with its type, padding after them, merges in order, ids, no BOS, the split's name."""
    write_small_tokenizer(tmp_path / "tokenizer", split, template="clapas")
    write_folder(tmp_path / "model", config_of("qwen2"), tmp_path / "tokenizer")
    reader = written(tmp_path / "model")
    key = "tokenizer.ggml."
    assert value(reader, f"{key}model") == "gpt2"
    assert value(reader, f"{key}pre") == name
    ids, content = token_ids(tmp_path / "tokenizer"), orjson.loads((tmp_path / "tokenizer/tokenizer.json").read_bytes())
    tokens, types = value(reader, f"{key}tokens"), value(reader, f"{key}token_type")
    assert len(tokens) == len(types) == ROWS
    assert all(tokens[number] == token for token, number in ids.items())
    special = {token["id"] for token in content["added_tokens"]}
    wanted = [3 if number in special else 1 if number < len(ids) else 5 for number in range(ROWS)]
    assert types == wanted
    assert value(reader, f"{key}merges") == [" ".join(pair) for pair in content["model"]["merges"]]
    assert value(reader, f"{key}eos_token_id") == ids["<|end_of_text|>"]
    assert value(reader, f"{key}bos_token_id") == ids["<|begin_of_text|>"]
    assert value(reader, f"{key}padding_token_id") == ids["<|pad|>"]
    assert value(reader, f"{key}eot_token_id") == ids["<|eot_id|>"]
    assert value(reader, f"{key}add_bos_token") is False
    template = (tmp_path / "model/chat_template.jinja").read_text(encoding="utf-8")
    assert value(reader, "tokenizer.chat_template") == template


def test_what_a_release_says_of_itself(trained_run: Path, tmp_path: Path) -> None:
    """Name, version, authors, licence, languages and data sets, with their revisions and addresses."""
    answers, evidence = small_answers(), small_evidence(trained_run)
    folder = export(trained_run, tmp_path / "model")
    (file,) = write_ggufs(folder, ("q8_0",), about_release(evidence, answers))
    reader = gguf.GGUFReader(file)
    assert file.name == f"{answers.model.repository.split('/')[1]}-q8_0.gguf"
    assert value(reader, "general.name") == answers.model.name
    assert value(reader, "general.version") == answers.model.version
    assert value(reader, "general.license") == answers.model.licence
    assert value(reader, "general.organization") == answers.provider.name
    assert answers.authors[0].family_names in value(reader, "general.author")
    assert value(reader, "general.languages") == list(answers.model.languages)
    (source,) = evidence.own_data.sources
    assert value(reader, "general.dataset.count") == 1
    assert value(reader, "general.dataset.0.name") == source.name
    assert value(reader, "general.dataset.0.version") == source.revision
    assert value(reader, "general.file_type") == 7
    assert value(reader, "tokenizer.chat_template") is None


def test_an_export_brings_them(trained_run: Path, tmp_path: Path) -> None:
    """Of a trained run in bf16: f32 and bf16 hold what the folder holds, under the folder's name."""
    folder = export(trained_run, tmp_path / "petit", gguf=read_names("f32, BF16,f32"))
    assert sorted(path.name for path in (folder / "gguf").iterdir()) == ["petit-bf16.gguf", "petit-f32.gguf"]
    one, other = (numbers(gguf.GGUFReader(path)) for path in sorted((folder / "gguf").iterdir()))
    assert all(np.array_equal(one[name], other[name]) for name in one.keys() | other.keys())


def test_another_quantisation_is_refused() -> None:
    """With the way to have it."""
    with pytest.raises(UserError, match="llama-quantize"):
        read_names("f32,q4_k_m")


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama3 in qwen3": ("qwen3, by YaRN", {"rope_scaling": LLAMA3}),
    "beta_fast 16": ("qwen3, by YaRN", {"rope_scaling": {**YARN, "beta_fast": 16.0}}),
    "truncate: false": ("llama", {"rope_scaling": {**YARN, "truncate": False}}),
    "norm_topk_prob: false": ("qwen3_moe", {"norm_topk_prob": False}),
    "qwen2 with heads of 128": ("qwen2", {"head_dim": 32}),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_llama_cpp_would_compute_otherwise_is_refused(said: str, tokenizer: Path, tmp_path: Path) -> None:
    """By what it is, and nothing is written."""
    model, changes = REFUSED[said]
    write_folder(tmp_path, config_of(model, **changes), tokenizer)
    with pytest.raises(UserError, match=said):
        written(tmp_path)
    assert not (tmp_path / "gguf").exists()


def with_split(content: dict[str, Any]) -> None:
    """Numbers by twos."""
    split = content["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    split["Regex"] = split["Regex"].replace("{1,3}", "{1,2}")


TOKENIZERS: dict[str, Any] = {
    "a split before the merges that is not llama3 or qwen2": with_split,
    "no merges": lambda content: content["model"].update(merges=[]),
    "added tokens that take spaces": lambda content: content["added_tokens"][3].update(lstrip=True),
    "no plain byte-level": lambda content: content["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
}


@pytest.mark.parametrize("said", TOKENIZERS)
def test_a_tokenizer_that_no_gguf_says_is_refused(said: str, tokenizer: Path, tmp_path: Path) -> None:
    """By what it does."""
    write_folder(tmp_path, config_of("llama"), tokenizer)
    content = orjson.loads((tmp_path / "tokenizer.json").read_bytes())
    TOKENIZERS[said](content)
    (tmp_path / "tokenizer.json").write_bytes(orjson.dumps(content))
    with pytest.raises(UserError, match=said):
        written(tmp_path)


def test_a_failure_leaves_no_file(tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up half way."""
    write_folder(tmp_path, config_of("llama"), tokenizer)
    read = HuggingFaceWeights.read_into

    def read_into(self: HuggingFaceWeights, name: str, *arguments: Any) -> None:
        if name.endswith("layers.1.mlp.up_proj.weight"):
            raise OSError(28, "No space left on device")
        read(self, name, *arguments)

    monkeypatch.setattr(HuggingFaceWeights, "read_into", read_into)
    with pytest.raises(OSError, match="No space"):
        written(tmp_path)
    assert list((tmp_path / "gguf").iterdir()) == []
