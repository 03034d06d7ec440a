"""Sequence parallelism by Ulysses (Jacobs et al., 2023): each rank holds a part of every sample's tokens.

All but attention looks at one token at a time and needs nothing of other ranks. Around attention the ranks trade: each
gives its tokens of other ranks' heads away and gets the other ranks' tokens of its own heads, attends over the whole
text, and trades back. A rank's loss is the sum over its own tokens: the gradient of all is the sum over ranks, as
with data ranks, so DeepSpeed need not know.

Shapes: n ranks, B batch, H heads (query or key-value), S tokens of the whole text, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from clapas.model.experts import MixtureOfExperts
from clapas.recipe.errors import UserError

Way = Callable[[Tensor, dist.ProcessGroup], Tensor]


class Exchange:
    """Attention over the whole text, of which each rank of the group holds consecutive tokens in rank order."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group = group

    def __call__(self, attention: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, *sight: Any) -> Tensor:
        """attention(q, k, v, *sight) with this rank's heads, (B, H/n, S, D), from its tokens', (B, H, S/n, D).

        sight: who looks at whom, over the whole text. Returns (B, H, S/n, D).
        """
        q, k, v = (_Trade.apply(x, self._group, _to_heads, _to_tokens) for x in (q, k, v))
        mixed = attention(q, k, v, *sight)
        return _Trade.apply(mixed, self._group, _to_tokens, _to_heads)  # pyright: ignore[reportReturnType] untyped


class _Trade(torch.autograd.Function):
    """there(x, group); its gradient takes the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup, there: Way, back: Way) -> Tensor:
        ctx.group, ctx.back = group, back
        return there(x, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.back(grad, ctx.group), None, None, None


def _to_heads(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """(B, H, S/n, D) -> (B, H/n, S, D)."""
    batch, heads, tokens, head_dim = x.shape
    size = dist.get_world_size(group)
    by_rank = _trade(x.view(batch, size, heads // size, tokens, head_dim).movedim(1, 0), group)
    return by_rank.movedim(0, 2).reshape(batch, heads // size, size * tokens, head_dim)


def _to_tokens(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """(B, H/n, S, D) -> (B, H, S/n, D)."""
    batch, heads, tokens, head_dim = x.shape
    size = dist.get_world_size(group)
    by_rank = _trade(x.reshape(batch, heads, size, tokens // size, head_dim).movedim(2, 0), group)
    return by_rank.movedim(0, 1).reshape(batch, size * heads, tokens // size, head_dim)


def _trade(by_rank: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Give row i to rank i of the group; get theirs, in rank order."""
    given = by_rank.contiguous()
    taken = torch.empty_like(given)
    dist.all_to_all_single(taken, given, group=group)
    return taken


def share_sequences(model: nn.Module, group: dist.ProcessGroup) -> None:
    """Let every attention of a model trade with the group, and every layer of experts count over it.

    Raises UserError where the model has no attention that can.
    """
    able: list[Any] = [module for module in model.modules() if hasattr(module, "exchange")]
    if not able:
        raise UserError(
            "parallel.sequence: this model's attention cannot trade tokens for heads",
            wanted="modules with an attribute `exchange`, as clapas.model.decoder.Attention",
            way_out="parallel.sequence=1",
        )
    exchange = Exchange(group)
    for module in able:
        module.exchange = exchange
    for module in model.modules():
        if isinstance(module, MixtureOfExperts):
            module.over_text = lambda count: _sum(count, group)


def _sum(count: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The sum of a count, which has no gradient, over the ranks of a text."""
    count = count.clone()
    dist.all_reduce(count, group=group)
    return count
