"""A model's weights laid out in memory for one token at a time on a CPU. Same numbers, same names, no more memory.

Of one token a layer costs less to compute than to start: so queries, keys and values are projected by one matrix, and
so are gate and up. The parameters remain, as views of it.

A wide matrix times one row is limited by memory, and MKL reads it at twice the speed where the columns lie end to end
(an axpy for each input and not a dot product for each output). Of few rows it wants the rows end to end
(`operations.linear`); of more, columns help small matrices alone. See decisions 161 and 175.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clapas.model.cpu import are_few
from clapas.model.decoder import MLP, Attention, CausalLM

SMALL_HIDDEN = 512
"""Below it a product of a few rows is quicker with columns end to end."""


@torch.no_grad()
def lay_out(model: CausalLM, texts: int) -> None:
    """Lay out a model that will not train for going on with so many texts at once. On accelerators it does nothing."""
    weight = model.lm_head.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return
    hidden = model.config.hidden_size
    is_small = hidden < SMALL_HIDDEN and not are_few(texts, hidden)  # `operations.linear` wants rows then
    for module in list(model.modules()):
        if isinstance(module, Attention):
            projections = (module.q_proj, module.k_proj, module.v_proj)
            if all(type(layer) is nn.Linear for layer in projections):
                module.packed = _pack(projections, texts, is_small), _biases(projections)
        elif isinstance(module, MLP) and all(type(x) is nn.Linear for x in (module.gate_proj, module.up_proj)):
            module.packed = _pack((module.gate_proj, module.up_proj), texts, is_small)
    model.lm_head.weight.data = _placed(model.lm_head.weight.data, texts, is_small)


def _pack(layers: Sequence[nn.Linear], texts: int, is_small: bool) -> Tensor:
    """The layers' weights one below another, (outputs of all, inputs); theirs become views of it."""
    packed = _placed(torch.cat([layer.weight for layer in layers]), texts, is_small)
    parts = packed.split([layer.weight.shape[0] for layer in layers])
    for layer, part in zip(layers, parts, strict=True):
        layer.weight.data = part
    return packed


def _biases(layers: Sequence[nn.Linear]) -> Tensor | None:
    biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
    return torch.cat(biases) if biases else None


def _placed(weight_OI: Tensor, texts: int, is_small: bool) -> Tensor:
    """A matrix with its columns end to end where that is quicker, else its rows."""
    outputs, inputs = weight_OI.shape
    by_columns = is_small or (texts == 1 and outputs >= 2 * inputs)
    return weight_OI.t().contiguous().t() if by_columns else weight_OI.contiguous()
