"""A model's weights as whole tensors, one at a time, whatever the ZeRO stage: for an engine that holds a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from clapas.engine.engine import import_deepspeed

if TYPE_CHECKING:
    from clapas.engine.engine import Engine


@torch.no_grad()
def whole_weights(engine: Engine, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, weight) of each parameter, tied ones under their first name, as the model computes with them. Collective.

    wanted: by name, which of them. At ZeRO-3 a tensor is whole until the next is asked for.
    """
    gathered = import_deepspeed().zero.GatheredParameters
    for name, parameter in engine.deepspeed.module.named_parameters():
        if not wanted(name):
            continue
        if not hasattr(parameter, "ds_id"):
            yield name, parameter.detach()
            continue
        with gathered([parameter]):
            yield name, parameter.detach()
