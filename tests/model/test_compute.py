"""Ways to compute the decoder: what each keeps in memory, and that none changes a bit of the result."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clapas.model.build import build_model
from clapas.model.config import ComputeConfig
from clapas.model.decoder import CausalLM
from model.shapes import config_of, model_of, tokens_of

Kind = Literal["none", "selective", "full"]
KINDS: tuple[Kind, ...] = ("none", "selective", "full")


def computed(shape: str, compute: ComputeConfig) -> CausalLM:
    """A model of a shape, with weights that are the same for each way to compute it."""
    config = config_of(shape)
    model = build_model(config, compute)
    model.load_state_dict(model_of(config).state_dict())
    return model


def loss_and_gradients(model: CausalLM) -> list[torch.Tensor]:
    """Of a batch with two documents a row."""
    tokens_BS = tokens_of(model.config)
    documents_BS = (torch.arange(tokens_BS.shape[1]) // 40).expand_as(tokens_BS)
    objective, losses_B = model(tokens_BS, document_ids_BS=documents_BS, targets_BS=tokens_BS.roll(-1, 1))
    return [objective.detach(), losses_B, *torch.autograd.grad(objective, list(model.parameters()))]


@pytest.mark.parametrize("shape", ["shared key-value heads", "long"])
@pytest.mark.parametrize("kind", ["selective", "full"])
def test_checkpointing_changes_no_bit(shape: str, kind: Kind) -> None:
    """Loss and gradients, bit for bit."""
    plain = loss_and_gradients(computed(shape, ComputeConfig()))
    found = loss_and_gradients(computed(shape, ComputeConfig(activation_checkpointing=kind)))
    assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))


def test_checkpointing_holds_less() -> None:
    """Bytes that the forward pass holds for the backward pass, weights apart: none > selective > full."""
    held = {kind: held_bytes(computed("long", ComputeConfig(activation_checkpointing=kind))) for kind in KINDS}
    assert held["none"] > 1.5 * held["selective"] > 1.5 * 1.5 * held["full"]


def held_bytes(model: CausalLM) -> int:
    """Bytes that a forward pass leaves alive, between it and the backward pass: what the graph holds."""
    tokens_BS = tokens_of(model.config)
    with Allocations() as allocations:
        outputs = model(tokens_BS, targets_BS=tokens_BS.roll(-1, 1))
    held = allocations.alive()
    del outputs
    return held - allocations.alive()


class Allocations(TorchDispatchMode):
    """Every storage that an operation makes, and whether something still holds it."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                reference = StorageWeakRef(tensor.untyped_storage())
                self._made[reference.cdata] = reference, tensor.untyped_storage().nbytes()
        return made

    def alive(self) -> int:
        """Bytes of the storages that are not freed."""
        return sum(size for reference, size in self._made.values() if not reference.expired())
