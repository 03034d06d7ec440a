"""Adapters on the model of a run: what they need of its recipe, and how they come onto its frozen base."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from clapas.engine.ranks import Ranks
from clapas.model.decoder import CausalLM
from clapas.model.lora import add_adapters
from clapas.model.lora_config import is_adapter
from clapas.model.nf4 import check_nf4, quantize_base, quantized
from clapas.model.peft_folder import WEIGHTS, read_adapter
from clapas.model.source import WeightSource
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash
from clapas.recipe.recipe import Recipe

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What a model computes in, by the recipe's word."""


def with_adapter_seal(recipe: Recipe) -> Recipe:
    """The recipe with the hash of the adapter that it begins with, if it begins with one.

    Raises UserError where the adapter is not there, computes otherwise than the recipe says, or is another one than its
    `seal`; and where there is no model to adapt.
    """
    lora = recipe.lora
    if lora is None:
        return recipe
    if recipe.model.from_ is None:
        raise UserError(
            "adapters need a model to adapt",
            where=recipe.place("lora"),
            found="a recipe with lora and without model.from, whose weights would be drawn at random",
            way_out="model.from=FOLDER, with a model of Hugging Face's form, a run or a checkpoint",
        )
    if lora.from_ is None:
        return recipe
    read_adapter(lora.from_, lora, lora.shapes(recipe.model))
    seal = file_hash(lora.from_ / WEIGHTS)
    if lora.seal is not None and lora.seal != seal:
        raise UserError(
            "this is not the adapter that the run begins with",
            where=recipe.place("lora.from"),
            found=f"SHA-256 {seal} of {lora.from_ / WEIGHTS}",
            wanted=lora.seal,
            way_out="bring that adapter back, or start another run: lora.seal=null and a run_dir of its own",
        )
    return recipe.model_copy(update={"lora": lora.model_copy(update={"seal": seal})})


def check_adapters(recipe: Recipe, ranks: Ranks) -> None:
    """Raise UserError where this device cannot hold the base as the recipe says."""
    if recipe.lora is not None and recipe.lora.quantize is not None:
        check_nf4(ranks.device.type, recipe.place("lora.quantize"))


def adapt(model: CausalLM, recipe: Recipe, ranks: Ranks, base: WeightSource) -> None:
    """Put the recipe's adapters on a model whose own weights are about to be those of `base`."""
    lora, dtype = recipe.lora, DTYPES[recipe.precision]
    assert lora is not None
    weight_of: Callable[[str], Tensor] = lambda name: base.tensor(name).to(dtype)  # noqa: E731 as the model will hold it
    start = None if lora.from_ is None else read_adapter(lora.from_, lora, lora.shapes(recipe.model))
    add_adapters(model, lora, recipe.seed, weight_of, start, dtype)
    if lora.quantize is not None:
        quantize_base(model, weight_of, ranks.device, dtype)


def not_the_bases(module: nn.Module) -> dict[str, set[str]]:
    """For `engine.state.load_weights`: parameters that the base does not have (`own`), and those of the base that the
    model holds in another form (`elsewhere`)."""
    own = {name for name, _ in module.named_parameters() if is_adapter(name)}
    return {"own": own, "elsewhere": {f"{name}.weight" for name in quantized(module)}}
