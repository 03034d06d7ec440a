"""The L2 norm of a whole model's gradient, of which a tensor rank holds a part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn

from clapas.engine.groups import tensor_group
from clapas.engine.ranks import Ranks
from clapas.engine.tensor_parallel import shard_of

NORM_DTYPE = torch.float64
"""What gradient norms are summed in, as DeepSpeed does: in fp32 a matrix of a million elements is off by 1e-5."""


def gradient_norm(parameters: Sequence[nn.Parameter], ranks: Ranks) -> float:
    """The norm over all of them that have a gradient. Collective; what every tensor rank holds counts once."""
    place = ranks.place.tensor
    counted = [p.grad for p in parameters if p.grad is not None and (place == 0 or shard_of(p, place) is not None)]
    nothing = torch.zeros((), dtype=NORM_DTYPE, device=ranks.device)  # a rank may hold none that trains and counts
    norms = [torch.linalg.vector_norm(grad, dtype=NORM_DTYPE) for grad in counted]
    squared = torch.stack([nothing, *norms]).square().sum()
    if ranks.tensor > 1:
        dist.all_reduce(squared, group=tensor_group())
    return float(squared.sqrt())
