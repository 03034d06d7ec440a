"""A model built to be filled: its weights are neither drawn nor, at ZeRO-3, ever whole on a rank.

DeepSpeed's `zero.Init` cuts each module's parameters among the ranks as soon as the module is made, so a rank holds one
module beside its share. Elsewhere a rank computes with the whole model anyway, and memory that nobody writes to is not
taken: PyTorch's `empty` on a CPU, what the optimizer's partitions are filled from later.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn

from clapas.engine.deepspeed_config import deepspeed_config
from clapas.engine.engine import open_communication
from clapas.engine.ranks import Ranks

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe


@contextmanager
def building_empty(recipe: Recipe, ranks: Ranks) -> Iterator[None]:
    """Inside, modules are made on the rank's device, with weights that wait for others. Collective.

    With tensor ranks, and where the base is to be held in 4 bits, they are made on the CPU, where nothing is written.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_nothing_drawn())
        is_cut_later = recipe.parallel.tensor > 1  # DeepSpeed cuts whole matrices among tensor ranks, first of all
        is_quantized = recipe.lora is not None and recipe.lora.quantize is not None  # it may not fit the GPU before
        if recipe.parallel.zero_stage < 3 and not (is_cut_later or is_quantized):
            stack.enter_context(ranks.device)
        elif not (is_cut_later or is_quantized):
            device = "cuda" if ranks.device.type == "cuda" else "cpu"
            deepspeed = open_communication(device)
            with contextlib.redirect_stdout(io.StringIO()):
                parts = deepspeed.zero.Init(config_dict_or_path=deepspeed_config(recipe, ranks.size, device))
            stack.enter_context(parts)
        yield


@contextmanager
def _nothing_drawn() -> Iterator[None]:
    """Linear layers as they are allocated: PyTorch would draw weights, minutes for some billions."""
    original = nn.Linear.reset_parameters
    nn.Linear.reset_parameters = lambda self: None
    try:
        yield
    finally:
        nn.Linear.reset_parameters = original
