"""How undecided a model is about its targets, for the log. N rows with a target, E hidden, V vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from clapas.loader.batch import NO_TARGET
from clapas_kernels.linear_cross_entropy import rows_of_chunk


@torch.no_grad()
def entropy_sum(hidden_BSE: Tensor, weight_VE: Tensor, targets_BS: Tensor) -> Tensor:
    """The sum over targets of the entropy of softmax(hidden weight^T), in nats; a scalar, in fp32, without gradient."""
    rows_NE = hidden_BSE[targets_BS != NO_TARGET]
    total = torch.zeros((), device=hidden_BSE.device)
    for rows_CE in rows_NE.split(max(1, rows_of_chunk(rows_NE, weight_VE))):
        log_p_CV = (rows_CE @ weight_VE.t()).float().log_softmax(-1)
        total -= (log_p_CV.exp() * log_p_CV).sum()
    return total
