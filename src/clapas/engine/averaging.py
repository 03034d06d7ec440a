"""Computing with averaged weights: the optimizer's state `average` in place of the masters, for a while.

An average is a tensor of the same shape beside each tensor that the optimizer owns. So it is sharded as the masters
are, saved and restored with the other states, and swapped element by element on each rank: nothing is gathered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from clapas.checkpoint.format import AVERAGE
from clapas.engine.slots import prepare_to_read, refresh_parameters, slots

if TYPE_CHECKING:
    from clapas.engine.engine import Engine


def owners(engine: Engine) -> list[torch.Tensor]:
    """This rank's masters: each tensor that the optimizer owns and that holds some of the model, once."""
    found = {id(slot.owner): slot.owner for slot in slots(engine.deepspeed)}
    return list(found.values())


@contextmanager
def averaged(engine: Engine) -> Iterator[None]:
    """Inside, the model computes with the averaged weights; with its own where there is no average. Collective.

    Call it between two steps, and do not train inside. Afterwards every bit is where it was.
    """
    state = engine.base_optimizer.state
    pairs = [(owner, state[owner][AVERAGE]) for owner in owners(engine) if AVERAGE in state.get(owner, {})]
    if not engine.ranks.sum(float(len(pairs))):  # a rank may hold nothing but padding, and must still take part
        yield
        return
    _swap(engine, pairs)
    try:
        yield
    finally:
        _swap(engine, pairs)


@torch.no_grad()
def _swap(engine: Engine, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    prepare_to_read(engine.deepspeed)
    for master, average in pairs:
        kept = master.detach().clone()
        master.copy_(average)
        average.copy_(kept)
    refresh_parameters(engine.deepspeed)
