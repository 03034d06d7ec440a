"""A frozen base in 4 bits, by bitsandbytes on a GPU (QLoRA: Dettmers et al., 2023, arXiv:2305.14314).

Blocks of 64 weights (on AMD's GPUs of 128) become 4-bit normal floats with a scale each, and the scales 8-bit floats:
about 4.13 bits a number. A product makes the weights of one projection whole again, in the precision of its input,
forward and backward.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from clapas.model.decoder import CausalLM
from clapas.model.lora import LoraLinear, adapted
from clapas.recipe.errors import UserError

BLOCK = 64 if torch.version.hip is None else 128
"""Weights of one scale: QLoRA's, and on AMD's GPUs, whose waves have 64 lanes, the least that bitsandbytes takes."""


class Nf4LoraLinear(LoraLinear):
    """An adapted projection whose base is held in 4 bits; it has no parameter `weight`."""

    def __init__(self, whole: LoraLinear, weight_OI: Tensor) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.scaling, self.is_on = (
            getattr(whole, name) for name in ("in_features", "out_features", "scaling", "is_on")
        )
        self.bias, self.lora_magnitude_vector = whole.bias, whole.lora_magnitude_vector
        self.lora_A, self.lora_B = whole.lora_A, whole.lora_B
        packed, self.state = _functional().quantize_4bit(
            weight_OI.contiguous(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
        )
        self.register_buffer("packed", packed, persistent=False)
        self.packed: Tensor

    def multiply(self, x_NI: Tensor) -> Tensor:
        """W x, without the bias."""
        import bitsandbytes

        return bitsandbytes.matmul_4bit(x_NI, self.packed.t(), quant_state=self.state)

    def matrix(self) -> Tensor:
        """W, whole again."""
        return _functional().dequantize_4bit(self.packed, self.state)


def quantize_base(
    model: CausalLM, weight_of: Callable[[str], Tensor], device: torch.device, dtype: torch.dtype
) -> None:
    """Hold the base of each adapted projection in 4 bits on `device`, one by one, rounded from `dtype`.

    weight_of: a base weight by its name.
    """
    for name, whole in list(adapted(model)):
        parent, _, own = name.rpartition(".")
        weight_OI = weight_of(f"{name}.weight").to(device, dtype)
        setattr(model.get_submodule(parent), own, Nf4LoraLinear(whole, weight_OI))


def quantized(model: nn.Module) -> list[str]:
    """The names of the projections whose base is held in 4 bits."""
    return [name for name, module in model.named_modules() if isinstance(module, Nf4LoraLinear)]


def check_nf4(device_type: str, where: str) -> None:
    """Raise UserError where this process cannot hold a base in 4 bits. where: the recipe's place of lora.quantize."""
    found = None
    if device_type != "cuda":
        found = "no GPU"
    elif importlib.util.find_spec("bitsandbytes") is None:
        found = "no bitsandbytes"
    if found is not None:
        raise UserError(
            "lora.quantize needs a GPU and bitsandbytes",
            where=where,
            found=found,
            wanted="an NVIDIA or AMD GPU, and `pip install bitsandbytes`",
            way_out="lora.quantize=null: the base is then held in the run's precision, over all ranks with "
            "parallel.zero_stage=3",
        )


def _functional() -> Any:
    import bitsandbytes.functional

    return bitsandbytes.functional
