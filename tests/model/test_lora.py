"""Low-rank adapters: against the real `peft`, merged, computed in every way, and what a recipe may say of them."""

from __future__ import annotations

import math
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor

from clapas.model.build import build_model
from clapas.model.config import ComputeConfig, ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.hf_config import to_hf_config
from clapas.model.init import initialise
from clapas.model.lora import adapted, adapters_off, add_adapters, merged_weights
from clapas.model.lora_config import LoraConfig, flops_per_token, is_adapter
from clapas.model.nf4 import check_nf4
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 64,
    "max_position_embeddings": 32,
}
MODEL = ModelConfig(**SIZES)
TOKENS = torch.randint(0, 64, (2, 16), generator=torch.Generator().manual_seed(0))
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4},
    "rslora of two": {"rank": 4, "rslora": True, "targets": ["q_proj", "v_proj"]},
    "dora": {"rank": 4, "dora": True},
    "dora of one": {"rank": 3, "alpha": 5, "dora": True, "rslora": True, "targets": "down_proj"},
}


def lora_of(kind: str) -> LoraConfig:
    return LoraConfig.model_validate(KINDS[kind])


def with_adapters(
    lora: LoraConfig, compute: ComputeConfig | None = None, *, moved: bool = True, dtype: torch.dtype = torch.float32
) -> CausalLM:
    """A random base with adapters, which have moved away from the beginning."""
    model = build_model(MODEL, compute or ComputeConfig(compile=False))
    initialise(model, 0)
    add_adapters(model.to(dtype), lora, seed=0)
    source = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if moved and is_adapter(name):
            with torch.no_grad():
                parameter += 0.05 * torch.randn(parameter.shape, generator=source)
    return model


def parts(model: CausalLM) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The base's tensors, and the adapters'."""
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    return (
        {name: tensor for name, tensor in state.items() if not is_adapter(name)},
        {name: tensor for name, tensor in state.items() if is_adapter(name)},
    )


def in_peft(model: CausalLM, lora: LoraConfig) -> peft.PeftModel:
    """The same base in transformers with the same adapters in PEFT, which has no other tensors than ours."""
    base, adapters = parts(model)
    fields = to_hf_config(MODEL, eos=0, bos=None, pad=None, dtype="float32")
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**fields))
    theirs.load_state_dict(base)
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType] an int in its signature, a number in its arithmetic
        target_modules=list(lora.projections),
        use_dora=lora.dora,
        use_rslora=lora.rslora,
    )
    wrapped = peft.get_peft_model(theirs, config)
    names = peft.get_peft_model_state_dict(wrapped).keys()
    assert names == {f"base_model.model.{name}" for name in adapters}
    peft.set_peft_model_state_dict(wrapped, {f"base_model.model.{name}": value for name, value in adapters.items()})
    return wrapped


@pytest.mark.parametrize("kind", KINDS)
class TestAgainstPeft:
    def test_logits_are_pefts(self, kind: str) -> None:
        """With PEFT's own names for all tensors."""
        model = with_adapters(lora_of(kind))
        with torch.no_grad():
            assert (in_peft(model, lora_of(kind))(TOKENS).logits - model(TOKENS)).abs().max() < 1e-5

    def test_gradients_are_pefts(self, kind: str) -> None:
        """Of every parameter of the adapters, and none of the base."""
        model = with_adapters(lora_of(kind))
        theirs = in_peft(model, lora_of(kind))
        for logits in (model(TOKENS), theirs(TOKENS).logits):
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), TOKENS.flatten()).backward()
        their_grads = {name: parameter.grad for name, parameter in theirs.named_parameters()}
        for name, parameter in model.named_parameters():
            assert (parameter.grad is not None) == is_adapter(name)
            if parameter.grad is not None:
                stem, _, last = name.rpartition(".")
                their_name = f"{stem}.default.weight" if last == "weight" else f"{name}.default.weight"
                theirs_here = their_grads[f"base_model.model.{their_name}"]
                assert theirs_here is not None
                assert (parameter.grad - theirs_here).abs().max() < 1e-6, name

    def test_merged_is_base_and_adapter(self, kind: str) -> None:
        """To 1e-6 in the logits, as PEFT merges it."""
        lora = lora_of(kind)
        model, plain = with_adapters(lora), build_model(MODEL)
        base, adapters = parts(model)
        weight_of = merged_weights(base.__getitem__, adapters.__getitem__, adapters, lora.scaling)
        plain.load_state_dict({name: weight_of(name) for name in base})
        theirs: Any = in_peft(model, lora).merge_and_unload()
        with torch.no_grad():
            assert (plain(TOKENS) - model(TOKENS)).abs().max() < 1e-6
        for name, tensor in theirs.state_dict().items():
            assert (tensor - plain.state_dict()[name]).abs().max() < 1e-6, name


@pytest.mark.parametrize("kind", KINDS)
def test_it_begins_as_its_base(kind: str) -> None:
    """To the last bit without DoRA, which divides by a norm; in bf16 too, where that norm is rounded as m is."""
    for dtype in (torch.float32, torch.bfloat16):
        model = with_adapters(lora_of(kind), moved=False, dtype=dtype).to(dtype)
        with torch.no_grad():
            adapted_logits = model(TOKENS)
            with adapters_off(model):
                base_logits = model(TOKENS)
        tolerance = 1e-6 if "dora" in kind and dtype == torch.float32 else 0
        assert (adapted_logits - base_logits).abs().max() <= tolerance


def test_off_and_on_again() -> None:
    """Off it is the base; afterwards the adapters count again."""
    model, base = with_adapters(lora_of("lora")), build_model(MODEL)
    base.load_state_dict(parts(model)[0])
    with torch.no_grad():
        before = model(TOKENS)
        with adapters_off(model):
            assert model(TOKENS).equal(base(TOKENS))
        assert model(TOKENS).equal(before)
    assert not before.equal(base(TOKENS))


def test_a_begins_as_pefts_whatever_else_has_an_adapter() -> None:
    """Uniform within 1 / sqrt(in), each from its own generator; B is zero."""
    every, one = (
        {name: module.lora_A.weight for name, module in adapted(with_adapters(lora, moved=False))}
        for lora in (LoraConfig.model_validate({"rank": 16, **more}) for more in ({}, {"targets": ["down_proj"]}))
    )
    for name, drawn in one.items():
        assert drawn.equal(every[name])
        bound = 1 / math.sqrt(48)
        assert drawn.abs().max() <= bound
        assert drawn.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert not any(module.lora_B.weight.any() for _, module in adapted(with_adapters(lora_of("lora"), moved=False)))


@pytest.mark.parametrize("compute", [{"activation_checkpointing": "selective"}, {"activation_checkpointing": "full"},
                                     {"tiled_mlp": 8}], ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", ["dora", "rslora of two"])
def test_gradients_are_the_same_however_it_is_computed(kind: str, compute: dict[str, Any]) -> None:
    """Checkpointing and tiles change nothing but the order of a sum."""
    gradients = []
    for how in ({}, compute):
        model = with_adapters(lora_of(kind), ComputeConfig(compile=False, **how))
        loss, _ = model(TOKENS, targets_BS=TOKENS)
        loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() == {name for name in gradients[0] if is_adapter(name)}
    for name, expected in gradients[0].items():
        assert (gradients[1][name] - expected).abs().max() < 1e-5 * expected.abs().max() + 1e-7, name


@pytest.mark.slow
def test_a_compiled_layer_gives_the_same_gradients() -> None:
    """`torch.compile` sees through adapters."""
    gradients = []
    for compile in (False, True):
        model = with_adapters(lora_of("dora"), ComputeConfig(compile=compile))
        model(TOKENS, targets_BS=TOKENS)[0].backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for plain, compiled in zip(*gradients, strict=True):
        assert (plain - compiled).abs().max() < 1e-5 * plain.abs().max() + 1e-7


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_counted_without_a_model_is_what_trains(kind: str) -> None:
    """Names, shapes and their order, and so the number of parameters."""
    lora = lora_of(kind)
    trains = {name: tuple(p.shape) for name, p in with_adapters(lora).named_parameters() if p.requires_grad}
    assert list(lora.shapes(MODEL).items()) == list(trains.items())
    assert lora.parameters(MODEL) == sum(math.prod(shape) for shape in trains.values())


def test_flops_are_those_of_the_products() -> None:
    """As PyTorch counts matrix products: forward and backward, without the base's gradients.

    The convention counts every layer's input gradient; the first layer's needs none below its adapters.
    """
    from torch.utils.flop_counter import FlopCounterMode

    lora = lora_of("lora")
    model = with_adapters(lora)
    logits = model(TOKENS)
    with FlopCounterMode(display=False) as counter:
        logits = model(TOKENS)
        logits.sum().backward()
    not_needed = 2 * (32 * (32 + 16 + 16)) + 2 * 4 * 32 * 3  # of a token: the input's gradient at q, k and v
    told = flops_per_token(MODEL, lora, 16) - not_needed
    assert counter.get_total_flops() / TOKENS.numel() == pytest.approx(told, rel=0.01)


RECIPE: dict[str, Any] = {
    "name": "adapters",
    "model": SIZES,
    "data": {"path": "data", "sequence_length": 16},
    "train": {"steps": 10, "global_batch_size": 4},
    "lora": {"rank": 4},
}
EXPERTS = {"architecture": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lora": {"rank": 4, "targets": ["qproj"]}}, "q_proj"),
        ({"lora": {"rank": 4, "targets": ["lm_head"]}}, "lm_head"),
        ({"lora": {"rank": 0}}, "greater than 0"),
        ({"lora": {"rank": 4, "dropout": 0.1}}, "dropout"),
        ({"model": {**SIZES, **EXPERTS}}, "experts have no adapters"),
        ({"parallel": {"tensor": 2}}, "parallel.tensor"),
        ({"lora": {"rank": 4, "quantize": "nf4"}, "parallel": {"zero_stage": 3}}, "lora.quantize"),
        ({"optimizer": {"mup": {"base_hidden_size": 16}}}, "optimizer.mup"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    """Each with the key, the value and the way out."""
    with pytest.raises(ValueError, match=told):
        Recipe.model_validate(RECIPE | changes)


def test_a_wrong_rank_is_told_once() -> None:
    """And not again of what follows from it."""
    with pytest.raises(ValueError, match="rank") as caught:
        LoraConfig.model_validate({"rank": 0})
    assert "alpha" not in str(caught.value)


def test_experts_may_have_adapters_on_attention() -> None:
    """Their own matrices have none."""
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    recipe = Recipe.model_validate(RECIPE | {"model": {**SIZES, **EXPERTS}, "lora": {"rank": 4, "targets": targets}})
    assert recipe.trained_parameters == 2 * 4 * (2 * 32 + 2 * (32 + 16) + 2 * 32)


def test_a_recipe_without_adapters_is_the_run_that_it_was() -> None:
    """Its identity does not know of them; with them it is another run, wherever the first ones came from."""
    plain, lora = (Recipe.model_validate(RECIPE | {"lora": given}) for given in (None, {"rank": 4}))
    started = Recipe.model_validate(RECIPE | {"lora": {"rank": 4, "from": "somewhere"}})
    assert "lora" not in plain.identity("")
    assert plain.identity_hash("") != lora.identity_hash("") == started.identity_hash("")


def test_four_bits_need_a_gpu_and_bitsandbytes() -> None:
    """Refused by name, with what is missing and a way out."""
    with pytest.raises(UserError, match=r"no GPU(?s:.*)lora.quantize=null"):
        check_nf4("cpu", "recipe.yaml:9")
