"""What a model makes of each target, token by token, without ever holding the logits of all positions.

Shapes: B texts, S positions, E hidden, V vocabulary, N targets.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas.model.decoder import Criterion
from clapas.model.operations import IGNORED

TARGETS_AT_ONCE = 1024
"""Rows of logits held at a time: 1,024 of 128,000 fp32 are 0.5 GB."""


class TokenScores(NamedTuple):
    """Of each target, in the order of the flattened (B, S): its place there, loss in nats, and whether it is likeliest.

    places_N: int64. losses_N: fp32. likeliest_N: whether no other token is more likely, so greedy decoding takes it.
    """

    places_N: Tensor
    losses_N: Tensor
    likeliest_N: Tensor


def token_scores(targets_BS: Tensor) -> Criterion:
    """A criterion for `CausalLM.forward`, which gives the fields of `TokenScores` of these targets (IGNORED: none): a
    plain tuple, for ZeRO-3 looks through what modules give and knows no other kind.
    """

    @torch.no_grad()
    def criterion(x_BSE: Tensor, weight_VE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        places_N = (targets_BS.flatten() != IGNORED).nonzero().flatten()
        x_NE, targets_N = x_BSE.flatten(0, 1)[places_N], targets_BS.flatten()[places_N]
        losses, likeliest = [x_NE.new_zeros(0, dtype=torch.float32)], [targets_N.new_zeros(0, dtype=torch.bool)]
        for x, targets in zip(x_NE.split(TARGETS_AT_ONCE), targets_N.split(TARGETS_AT_ONCE), strict=True):
            logits = F.linear(x, weight_VE).float()
            losses.append(F.cross_entropy(logits, targets, reduction="none"))
            likeliest.append(logits.argmax(-1) == targets)
        return places_N, torch.cat(losses), torch.cat(likeliest)

    return criterion
