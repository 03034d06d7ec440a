"""Our all-gather and reduce-scatter give what torch's own give, among real ranks, also in groups and into views."""

from __future__ import annotations

from pathlib import Path

from commands import python_ranks

COMPARE = """
import os

import torch
import torch.distributed as dist

from clapas.engine.gloo import all_gather, reduce_scatter

rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
dist.init_process_group("gloo", init_method=os.environ["CLAPAS_RENDEZVOUS"], rank=rank, world_size=size)
groups = [None, dist.new_group([0, 2]), dist.new_group([2, 1])]
torch.manual_seed(rank)
for dtype in (torch.float32, torch.bfloat16):
    for group in [group for group in groups if group is None or dist.get_rank(group) >= 0]:
        ranks, own = dist.get_world_size(group), dist.get_rank(group)
        part = torch.randn(5).to(dtype)
        wanted = torch.empty(5 * ranks, dtype=dtype)
        dist.all_gather_single(wanted, part, group=group)

        assert all_gather(found := torch.empty_like(wanted), part, group=group) is None
        assert torch.equal(found, wanted)
        found = torch.empty_like(wanted)
        all_gather(found, part, group=group, async_op=True).wait()
        assert torch.equal(found, wanted)
        found = torch.empty_like(wanted)
        inside = found[own * 5 : own * 5 + 5]
        inside.copy_(part)
        all_gather(found, inside, group=group)
        assert torch.equal(found, wanted)

        everyone = torch.randint(-8, 8, (5 * ranks,)).to(dtype)  # sums of small integers are exact in any order
        wanted = torch.empty(5, dtype=dtype)
        dist.reduce_scatter_single(wanted, everyone.clone(), group=group)
        reduce_scatter(found := torch.empty(5, dtype=dtype), everyone.clone(), group=group)
        assert torch.equal(found, wanted)
        inside = everyone[own * 5 : own * 5 + 5]
        reduce_scatter(inside, everyone, group=group)
        assert torch.equal(inside, wanted)
dist.barrier()
os._exit(0)
"""


def test_parts_and_sums_are_those_of_torch(tmp_path: Path) -> None:
    """Three ranks, and two groups of two, of which one counts its ranks otherwise."""
    for ended in python_ranks(COMPARE, [], ranks=3, meeting=tmp_path / "meeting"):
        assert ended.returncode == 0, ended.stderr
