"""The ranks of a run: started by torchrun, srun or `clapas train --nproc`, or one process alone.

One process group, gloo on the CPU and NCCL (RCCL on AMD) on GPUs. What ranks agree on here (a stop, an error, a count)
keeps them in step: a decision that one rank takes alone is a deadlock.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore  # documented as torch.distributed.HashStore, which types do not see

RENDEZVOUS_SECONDS = 300  # a slow file system can delay a rank's imports by minutes


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among the data-parallel ranks."""

    rank: int
    size: int
    device: torch.device

    def agree_on_error(self, error: str | None) -> str | None:
        """The first error that any rank brought, on every rank; None where there is none. A barrier."""
        if self.size == 1:
            return error
        if not self.sum(0.0 if error is None else 1.0):
            return None
        errors: list[str | None] = [None] * self.size
        dist.all_gather_object(errors, error)
        return next(found for found in errors if found is not None)

    def sum(self, value: float) -> float:
        """The sum of a number over all ranks (float64)."""
        return self.sum_all([value])[0]

    def sum_all(self, values: list[float]) -> list[float]:
        """The sums of several numbers over all ranks (float64), in one collective."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)  # on the CPU, over gloo: no wait for the GPU
        dist.all_reduce(tensor)
        return tensor.tolist()

    def broadcast(self, text: str | None) -> str | None:
        """Rank 0's text, on every rank."""
        if self.size == 1:
            return text
        box = [text]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]


def start_ranks() -> Ranks:
    """Join the process group that the environment describes (RANK, WORLD_SIZE, ...; or Slurm's). Alone without one."""
    rank, size, local = _place()
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", local % torch.cuda.device_count())
        torch.cuda.set_device(device)
    os.environ.update({"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(local)})
    method = os.environ.get("CLAPAS_RENDEZVOUS")  # a file, set by `--nproc`: no port to choose, so none to collide
    if method is None and "MASTER_PORT" in os.environ:
        method = "env://"
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        init_method=method,
        store=HashStore() if method is None else None,
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=RENDEZVOUS_SECONDS),
    )
    return Ranks(rank, size, device)


def stop_ranks() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):  # a peer that is gone cannot say goodbye
            dist.destroy_process_group()


def _place() -> tuple[int, int, int]:
    """(rank, ranks, rank on this node), as torchrun, srun or nothing set them."""
    environment = os.environ
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return int(environment["RANK"]), int(environment["WORLD_SIZE"]), int(environment.get("LOCAL_RANK", "0"))
    if int(environment.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in environment:
        _rendezvous_from_slurm()
        return int(environment["SLURM_PROCID"]), int(environment["SLURM_NTASKS"]), int(environment["SLURM_LOCALID"])
    return 0, 1, 0


def _rendezvous_from_slurm() -> None:
    """MASTER_ADDR and MASTER_PORT for tasks that srun started: the job's first node, a port from the job's id."""
    step_nodes = os.environ.get("SLURM_STEP_NODELIST", os.environ.get("SLURM_NODELIST", "localhost"))
    os.environ.setdefault("MASTER_ADDR", first_host(step_nodes))
    os.environ.setdefault("MASTER_PORT", str(15000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 20000))


def first_host(node_list: str) -> str:
    """The first host of a Slurm node list: `jean-zay-[012-015,020]` -> `jean-zay-012`."""
    head = node_list.split(",")[0] if "[" not in node_list.split(",")[0] else node_list
    prefix, bracket, rest = head.partition("[")
    if not bracket:
        return head
    return prefix + rest.partition("]")[0].split(",")[0].split("-")[0]
