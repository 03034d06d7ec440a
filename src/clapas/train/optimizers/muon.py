"""Muon: momentum, orthogonalised, for the matrices of the hidden layers; AdamW for all the rest.

Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon/), with Liu et al., 2025 (Muon is Scalable for LLM
Training): an orthogonal update of (M, N) has entries of size 1 / sqrt(max(M, N)); times 0.2 sqrt(max(M, N)) they are as
large as AdamW's, so that one learning rate and one weight decay serve both.

DeepSpeed has a Muon of its own: it orthogonalises while gradients are reduced, so its clipping acts on the update and
not on the gradient, and each stage has its own rules. This one is an ordinary optimizer: it steps the flat partitions
that ZeRO hands it, after DeepSpeed has accumulated, reduced and clipped the true gradient. Momentum, decay and update
stay with the partition; only matrices that ranks share travel (see `exchange`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from clapas.engine.slots import Slot
from clapas.train.optimizers.exchange import Exchange, Matrix, pieces_of, share_out
from clapas_kernels import orthogonalise

RMS = 0.2
"""The size of AdamW's updates, as Liu et al. measured it: root mean square, in learning rates."""
BATCH_ELEMENTS = 2**25
"""Elements that are orthogonalised at once: enough to fill a GPU, and few beside a model."""


class Muon(torch.optim.AdamW):
    """AdamW, but groups with `muon: True` are orthogonalised.

    For a matrix with gradient g (Nesterov's momentum):
        m = mu m + (1 - mu) g;   w = w - lr (0.2 sqrt(max(M, N)) orthogonal(mu m + (1 - mu) g) + weight_decay w)
    params: groups with `muon` each. momentum: mu. Further: AdamW's own.
    A stack of matrices (the experts of a layer) is orthogonalised one by one. In bf16 on a GPU, in fp32 on a CPU.
    """

    def __init__(self, params: Any, *, momentum: float, **adamw: Any) -> None:
        super().__init__(params, **adamw)
        for group in self.param_groups:
            group["momentum"] = momentum
        self._owner_numbers: dict[int, int] = {}
        self._matrices: list[Matrix] = []
        self._exchanges: dict[tuple[int, ...], Exchange] = {}

    def bind(self, slots: Iterable[Slot], device: torch.device) -> None:
        """Learn which pieces of which matrix lie where. Collective, once, before the first step.

        slots: this rank's, see `engine.slots`. device: where matrices are orthogonalised, wherever the weights are.
        """
        self._device = device
        slots = list(slots)
        owners = [owner for group in self.param_groups for owner in group["params"]] + [slot.owner for slot in slots]
        self._owner_numbers = {key: number for number, key in enumerate(dict.fromkeys(map(id, owners)))}
        rank, size = _place()
        pieces: list[Any] = [pieces_of(slots, self._owner_numbers, rank)]
        if size > 1:
            mine, pieces = pieces[0], [None] * size
            dist.all_gather_object(pieces, mine)
        self._matrices = share_out(pieces)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] no closure
        """Update every weight that has a gradient. Nothing before `bind`: DeepSpeed steps when it starts."""
        if not self._owner_numbers:
            return
        every = self.param_groups
        self.param_groups = [group for group in every if not group["muon"]]
        step: Any = torch.optim.AdamW.step
        if getattr(step, "hooked", False):  # by another AdamW in this process: hooks are called once a step
            step = step.__wrapped__
        step(self)
        self.param_groups = every
        groups = {
            self._owner_numbers[id(owner)]: (owner, group)
            for group in every
            if group["muon"]
            for owner in group["params"]
            if owner.grad is not None
        }
        if groups:
            self._step_matrices(groups)

    def _step_matrices(self, owners: dict[int, tuple[Tensor, dict[str, Any]]]) -> None:
        """owners: the optimizer's tensors and their groups, by number."""
        dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        updates = {number: self._momentum(owner, group).to(dtype) for number, (owner, group) in owners.items()}
        exchange = self._exchange(tuple(owners))
        whole = exchange.gather(updates)
        like = next(iter(updates.values()))
        results = {number: values.to(like.device) for number, values in self._orthogonalise(whole).items()}
        for owner, group in owners.values():
            owner.mul_(1 - group["lr"] * group["weight_decay"])
        for number, piece, values in exchange.scatter(results, like):
            owner, group = owners[piece.owner]
            scale = RMS * math.sqrt(max(exchange.matrices[number].shape))
            owner.view(-1)[piece.start : piece.start + piece.length].add_(values, alpha=-group["lr"] * scale)

    def _momentum(self, owner: Tensor, group: dict[str, Any]) -> Tensor:
        """Nesterov's look ahead, flat; takes the place of the gradient."""
        assert owner.grad is not None
        state = self.state[owner]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(owner)
        buffer, mu = state["momentum_buffer"], group["momentum"]
        buffer.lerp_(owner.grad, 1 - mu)
        return owner.grad.lerp_(buffer, mu).view(-1)

    def _exchange(self, numbers: tuple[int, ...]) -> Exchange:
        """The travels of the matrices in these owners: ZeRO-3 steps one sub-group after the other."""
        if numbers not in self._exchanges:
            present = set(numbers)
            chosen = [matrix for matrix in self._matrices if matrix.pieces[0].owner in present]
            self._exchanges[numbers] = Exchange(chosen, *_place())
        return self._exchanges[numbers]

    def _orthogonalise(self, whole: dict[int, Tensor]) -> dict[int, Tensor]:
        """Equal shapes together, as many at once as BATCH_ELEMENTS allow."""
        by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for number, matrix in whole.items():
            by_shape[matrix.shape].append(number)
        results: dict[int, Tensor] = {}
        for shape, numbers in by_shape.items():
            at_once = max(1, BATCH_ELEMENTS // shape.numel())
            for start in range(0, len(numbers), at_once):
                batch = numbers[start : start + at_once]
                done = orthogonalise(torch.stack([whole[number] for number in batch]).to(self._device))
                results.update(zip(batch, done, strict=True))
        return results


def _place() -> tuple[int, int]:
    """(rank, ranks) of this process; one alone without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
