"""All-gather and reduce-scatter between CPUs, in place of gloo's own, which take two to four times as long.

Gloo gathers into a buffer that it allocates anew and copies from, and scatters only after it has summed everything for
everyone. Here each rank broadcasts its part into place, and each gets the parts that it sums (docs/decisions/078).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def use_direct_collectives() -> None:
    """Have DeepSpeed gather and scatter this way. Call after its backend is initialised, where ranks are CPUs."""
    from deepspeed.comm import comm

    backend: Any = comm.cdb
    backend.all_gather_function = all_gather
    backend.reduce_scatter_function = reduce_scatter


@dataclass(frozen=True, slots=True)
class Works:
    """Collectives that are under way together."""

    works: list[dist.Work]

    def wait(self) -> None:
        """Until all are done."""
        for work in self.works:
            work.wait()


def all_gather(
    output_tensor: Tensor, input_tensor: Tensor, group: dist.ProcessGroup | None = None, async_op: bool = False
) -> Works | None:
    """`input_tensor` (N,) of each of R ranks into `output_tensor` (R * N,), of which it may be a part."""
    parts = output_tensor.view(-1).chunk(dist.get_world_size(group))
    own = parts[dist.get_rank(group)]
    if own.data_ptr() != input_tensor.data_ptr():
        own.copy_(input_tensor.view(-1))
    started = (dist.broadcast(part, group_src=rank, group=group, async_op=True) for rank, part in enumerate(parts))
    works = Works([work for work in started if work])
    return works if async_op else works.wait()


@torch.no_grad()
def reduce_scatter(
    output_tensor: Tensor,
    input_tensor: Tensor,
    op: Any = dist.ReduceOp.SUM,
    group: dist.ProcessGroup | None = None,
    async_op: bool = False,
) -> None:
    """The sum over R ranks of their `input_tensor` (R * N,), of which each gets its part: `output_tensor` (N,).

    Summed in the order of the ranks. The output may be a part of the input.
    """
    assert op == dist.ReduceOp.SUM, "DeepSpeed asks for sums"
    assert not async_op, "DeepSpeed waits for them"
    received = torch.empty_like(input_tensor)
    dist.all_to_all_single(received, input_tensor, group=group)
    torch.sum(received.view(dist.get_world_size(group), -1), dim=0, out=output_tensor.view(-1))
