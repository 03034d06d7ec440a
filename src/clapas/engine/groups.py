"""The process groups inside a layout: tensor ranks, and sequence ranks.

DeepSpeed makes the tensor groups, of neighbouring ranks, as `engine.layout` numbers them; the sequence groups are ours.
"""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

from clapas.engine.layout import Layout


def tensor_group() -> Any:
    """The ranks that share this one's weights, once DeepSpeed has cut them."""
    from deepspeed.utils import groups

    return groups.get_tensor_model_parallel_group()


def sequence_group(layout: Layout, rank: int) -> Any:
    """The ranks that share this one's samples and weights. Collective: every rank makes all groups, in one order."""
    own = None
    stride = layout.tensor
    block = layout.sequence * stride
    for first in range(0, layout.size, block):
        for tensor in range(stride):
            ranks = range(first + tensor, first + block, stride)
            group = dist.new_group(list(ranks))
            if rank in ranks:
                own = group
    return own
