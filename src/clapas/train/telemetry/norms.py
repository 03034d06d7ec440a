"""Norms by part of the model: of the gradient at every logged step, of weights and activations on demand.

Gradients and weights are read from the partitions that the optimizer owns, so nothing is gathered: each rank sums the
squares of its own pieces. B, S, E: batch, sequence, hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clapas.engine.slots import Slot, slots
from clapas.train.telemetry.measure import Columns, Measure

if TYPE_CHECKING:
    from clapas.train.run import Run

GROUPS = ("embedding", "attention", "mlp", "norms", "head", "other")
MODULES = {"embed_tokens": "embedding", "self_attn": "attention", "mlp": "mlp", "norm": "norms"}
"""The modules whose outputs are measured, by the last part of their name -> their group."""


def group_of(name: str) -> str:
    """The part of the model that a parameter belongs to, by its Hugging Face name. A tied head is the embedding."""
    parts = name.split(".")
    if any("norm" in part for part in parts):
        return "norms"
    for part, group in (("embed_tokens", "embedding"), ("self_attn", "attention"), ("mlp", "mlp"), ("lm_head", "head")):
        if part in parts:
            return group
    return "other"


class Pieces:
    """Which elements of the optimizer's tensors belong to which group, on this rank.

    copies: ranks that hold the same where a slot is replicated. tensor: tensor ranks, which hold the same where a slot
    is of none in particular. Such squares count by their share.
    """

    def __init__(self, found: Iterable[Slot], copies: int = 1, tensor: int = 1) -> None:
        self._by_owner: dict[int, list[tuple[int, int, int, float]]] = {}
        self.owners: dict[int, Tensor] = {}
        for slot in found:
            share = 1 / ((copies if slot.replicated else 1) * (tensor if slot.on_all_tensor_ranks else 1))
            place = (GROUPS.index(group_of(slot.name)), slot.start, slot.start + slot.length, share)
            self._by_owner.setdefault(id(slot.owner), []).append(place)
            self.owners[id(slot.owner)] = slot.owner

    def add_squares(self, owner: int, values: Tensor, squares: Tensor) -> None:
        """Add the squares of an owner's values (or gradients), by group, to `squares` (one number a group)."""
        flat = values.detach().view(-1)
        places = [place for place in self._by_owner.get(owner, ()) if place[1] < place[2]]
        if not places:
            return
        norms = torch.stack([torch.linalg.vector_norm(flat[start:stop]) for _, start, stop, _ in places]).double()
        groups, _, _, shares = zip(*places, strict=True)
        indices = torch.tensor(groups, device=squares.device)
        squares.index_add_(0, indices, norms.square().to(squares.device) * norms.new_tensor(shares).to(squares.device))


class GradientNorms(Measure):
    """The gradient's norm before clipping, by group; the squares of all add up to `grad_norm`'s.

    Read by a hook before the optimizer's step, where DeepSpeed has averaged, unscaled and clipped: so the groups'
    shares are measured and `grad_norm` gives the scale. That holds whether ranks hold pieces or copies.
    """

    def start(self, run: Run) -> None:
        """Hang on the optimizer."""
        self._pieces = Pieces(slots(run.engine.deepspeed), run.ranks.peer_size, run.ranks.tensor)
        self._squares = torch.zeros(len(GROUPS), dtype=torch.float64, device=run.ranks.device)
        self._armed = False
        self._hook = run.engine.base_optimizer.register_step_pre_hook(self._before_update)

    def before_step(self, run: Run) -> None:
        """Measure the steps that are logged."""
        self._armed = run.logs(run.step + 1)

    def _before_update(self, optimizer: torch.optim.Optimizer, arguments: Any, named: Any) -> None:
        if not self._armed:
            return
        for group in optimizer.param_groups:
            for owner in group["params"]:
                if owner.grad is not None:
                    self._pieces.add_squares(id(owner), owner.grad, self._squares)

    def own(self, run: Run) -> list[float]:
        """The squares of this rank's pieces."""
        squares = self._squares.tolist()
        self._squares.zero_()
        return squares

    def columns(self, run: Run, row: Columns, everyone: list[list[float]]) -> Columns:
        """`grad_norm/GROUP` for each group that has a gradient."""
        squares = [sum(values) for values in zip(*everyone, strict=True)]
        total = sum(squares)
        if total <= 0 or row["grad_norm"] is None:  # None: a step that fp16 skipped
            return {}
        scale = row["grad_norm"] / total**0.5
        return {f"grad_norm/{g}": scale * square**0.5 for g, square in zip(GROUPS, squares, strict=True) if square > 0}

    def close(self) -> None:
        """Let go of the optimizer."""
        if hasattr(self, "_hook"):
            self._hook.remove()


class WeightNorms(Measure):
    """The L2 norm of the fp32 weights by group, every `telemetry.norms_every` steps."""

    def start(self, run: Run) -> None:
        """Find the weights."""
        self._pieces = Pieces(slots(run.engine.deepspeed), run.ranks.peer_size, run.ranks.tensor)

    def own(self, run: Run) -> list[float]:
        """The squares of this rank's pieces; copies count once."""
        squares = torch.zeros(len(GROUPS), dtype=torch.float64, device=run.ranks.device)
        if run.recipe.telemetry.norms_at(run.step):
            for key, owner in self._pieces.owners.items():
                self._pieces.add_squares(key, owner, squares)
        return squares.tolist()

    def columns(self, run: Run, row: Columns, everyone: list[list[float]]) -> Columns:
        """`weight_norm/GROUP`."""
        squares = [sum(values) for values in zip(*everyone, strict=True)]
        return {f"weight_norm/{g}": square**0.5 for g, square in zip(GROUPS, squares, strict=True) if square > 0}


class ActivationNorms(Measure):
    """Root mean square of the outputs of embedding, attention, MLP and last norm, every `telemetry.norms_every` steps.

    Means over the layers, micro-batches and ranks of that step. Hooks hang on the modules for that step alone; a
    compiled model does not call them, and then there are no such columns.
    """

    def __init__(self) -> None:
        self._hooks: list[Any] = []
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def before_step(self, run: Run) -> None:
        """Hang on the modules for the coming step."""
        if not run.recipe.telemetry.norms_at(run.step + 1):
            return
        for name, module in run.engine.deepspeed.module.named_modules():
            if group := MODULES.get(name.rpartition(".")[2]):
                self._hooks.append(module.register_forward_hook(self._hook(group)))

    def _hook(self, group: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output  # an MLP also tells its balance
            if isinstance(output, Tensor):
                mean_square = output.detach().float().square().mean(dtype=torch.float64)
                self._sums[group] = self._sums.get(group, 0.0) + mean_square
                self._counts[group] = self._counts.get(group, 0) + 1

        return keep

    def own(self, run: Run) -> list[float]:
        """The mean square of each group's outputs."""
        means = [float(self._sums[g]) / self._counts[g] if g in self._counts else 0.0 for g in GROUPS]
        self.close()
        return means

    def columns(self, run: Run, row: Columns, everyone: list[list[float]]) -> Columns:
        """`activation_rms/GROUP`."""
        means = [sum(values) / len(everyone) for values in zip(*everyone, strict=True)]
        return {f"activation_rms/{group}": mean**0.5 for group, mean in zip(GROUPS, means, strict=True) if mean > 0}

    def close(self) -> None:
        """Let go of the modules."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._sums, self._counts = [], {}, {}
