"""The ranks of a run: started by torchrun, srun or `clapas train --nproc`, or one process alone.

One process group, gloo on the CPU and NCCL (RCCL on AMD) on GPUs. What ranks agree on here (a stop, an error, a count)
keeps them in step: a decision that one rank takes alone is a deadlock.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as distributed_c10d
from torch._C._distributed_c10d import (  # documented as torch.distributed.*, which types do not see
    HashStore,
    PrefixStore,
    Store,
    TCPStore,
)

from clapas.engine.flight_recorder import record_collectives
from clapas.engine.layout import Layout, Place
from clapas.engine.step_port import step_port
from clapas.recipe.errors import ClapasError, UserError

RENDEZVOUS_SECONDS = 300  # a slow file system can delay a rank's imports by minutes
GLOO_CHECKS = 2_000  # 4 seconds at the least
PATIENCE_DAYS = 7  # no limit at all cannot be said to NCCL


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among all ranks and in their layout, by which all read other samples if nothing is said."""

    rank: int
    size: int
    device: torch.device
    tensor: int = 1
    sequence: int = 1

    def arranged(self, layout: Layout) -> Ranks:
        """The same ranks in a layout."""
        return replace(self, tensor=layout.tensor, sequence=layout.sequence)

    @property
    def layout(self) -> Layout:
        """How all ranks share the work."""
        return Layout(self.size // (self.tensor * self.sequence), self.sequence, self.tensor)

    @property
    def place(self) -> Place:
        """Where this rank stands in the layout."""
        return self.layout.place(self.rank)

    @property
    def peer_rank(self) -> int:
        """Which of `peer_size` ranks this is that hold the same part of the weights."""
        return self.rank // self.tensor

    @property
    def peer_size(self) -> int:
        """How many ranks hold the same part of the weights: gradients are averaged among them."""
        return self.size // self.tensor

    @property
    def data_rank(self) -> int:
        """Which of `data_size` parts of the samples this rank reads; its tensor and sequence ranks read the same."""
        return self.place.data

    @property
    def data_size(self) -> int:
        """Into how many parts the samples are shared."""
        return self.layout.data

    def positions(self, sequence_length: int) -> tuple[int, int]:
        """[start, stop) of the positions of each sample that this rank holds."""
        share = sequence_length // self.sequence
        return self.place.sequence * share, (self.place.sequence + 1) * share

    def agree_on_error(self, error: str | None) -> str | None:
        """The first error that any rank brought, on every rank; None where there is none. A barrier."""
        if self.size == 1:
            return error
        if not self.sum(0.0 if error is None else 1.0):
            return None
        errors: list[str | None] = [None] * self.size
        dist.all_gather_object(errors, error)
        return next(found for found in errors if found is not None)

    @contextlib.contextmanager
    def said_once(self) -> Iterator[None]:
        """Around what fails on all ranks alike: rank 0 alone prints the message."""
        try:
            yield
        except ClapasError as error:
            error.told_by_another = self.rank != 0
            raise

    def all(self, flag: bool) -> bool:
        """Whether every rank brings True."""
        return not self.sum(0.0 if flag else 1.0)

    def sum(self, value: float) -> float:
        """The sum of a number over all ranks (float64); see `sum_all`."""
        return self.sum_all([value])[0]

    def sum_all(self, values: list[float]) -> list[float]:
        """The sums of several numbers over all ranks (float64), in one collective.

        Tensor ranks see the same tokens and count once: their mean is what is summed.
        """
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)  # on the CPU, over gloo: no wait for the GPU
        dist.all_reduce(tensor)
        return (tensor / self.tensor).tolist()

    def gather(self, values: list[float]) -> list[list[float]]:
        """Every rank's numbers (float64), equally many of each, in the order of the ranks; one collective."""
        if self.size == 1:
            return [values]
        everyone = torch.empty(self.size, len(values), dtype=torch.float64)
        dist.all_gather(list(everyone.unbind()), torch.tensor(values, dtype=torch.float64))
        return everyone.tolist()

    def gather_texts(self, text: str) -> list[str]:
        """Every rank's text, in the order of the ranks."""
        texts = [text] * self.size
        if self.size > 1:
            dist.all_gather_object(texts, text)
        return texts

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
        record_collectives()
    method, store = _rendezvous(rank, size)
    os.environ.update({"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(local)})
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        init_method=method,
        store=store,
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=RENDEZVOUS_SECONDS),
    )
    return Ranks(rank, size, device)


def alone() -> Ranks:
    """This process as the only rank, without a process group: for what is measured, not trained."""
    return Ranks(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def stop_ranks() -> None:
    """Leave the process group. DeepSpeed forgets its own, so that this process may train again."""
    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):  # a peer that is gone cannot say goodbye
            comm = sys.modules.get("deepspeed.comm")
            leave = comm.destroy_process_group if comm and comm.is_initialized() else dist.destroy_process_group
            leave()
        _await_gloo()


def _await_gloo() -> None:
    """Until gloo's threads have let go of the last tensors, for which each takes the interpreter's lock.

    One that takes it while the interpreter ends aborts the process ("terminate called without an active exception").
    Nobody joins these threads; so the lock is let go of until none of them has anything left to run (Linux tells).
    """
    for _ in range(GLOO_CHECKS):
        time.sleep(0.002)  # lets go of the lock: who waits for it becomes runnable, and is seen below
        if not any(_runs(task) for task in Path("/proc/self/task").glob("*")):
            return


def _runs(task: Path) -> bool:
    """Whether a thread is one of gloo's workers and has something to do."""
    try:
        name, _, rest = (task / "stat").read_text().partition(") ")
    except OSError:  # it has just ended
        return False
    return name.endswith("(pt_gloo_runloop") and rest.startswith("R")


def wait_without_end() -> None:
    """Let collectives of this process's groups wait for as long as it takes: something else watches over them.

    Torch's own limits, 5 to 30 minutes, would end a run whose ranks wait for one that is slow, and name nobody.
    """
    for group in list(distributed_c10d._world.pg_map):
        distributed_c10d._set_pg_timeout(timedelta(days=PATIENCE_DAYS), group)


def _place() -> tuple[int, int, int]:
    """(rank, ranks, rank on its node), as torchrun, srun or nothing set them. Raises UserError where srun is due."""
    environment = os.environ
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return int(environment["RANK"]), int(environment["WORLD_SIZE"]), int(environment.get("LOCAL_RANK", "0"))
    size = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if size > 1:
        return int(environment["SLURM_PROCID"]), size, int(environment["SLURM_LOCALID"])
    tasks = int(environment.get("SLURM_NTASKS", "1"))
    if tasks > 1 and "SLURM_PROCID" in environment and "SLURM_STEP_ID" not in environment:
        raise UserError(  # the other ranks would be waited for in vain
            "a batch script runs on one node, once: it starts no ranks by itself",
            found=f"a job of {tasks} tasks, and this process outside any srun",
            wanted="one process for each task",
            way_out="write `srun clapas train …` in the script, or ask for one task (`#SBATCH --ntasks=1`)",
        )
    return 0, 1, 0


def _rendezvous(rank: int, size: int) -> tuple[str | None, Store | None]:
    """Where the ranks meet: a URL for torch, or a store."""
    if url := os.environ.get("CLAPAS_RENDEZVOUS"):  # a file, set by `--nproc`: no port to choose, so none to collide
        return url, None
    if "RANK" in os.environ and "MASTER_PORT" in os.environ:
        return "env://", None
    return None, slurm_store(rank, size) if size > 1 else HashStore()


def slurm_store(rank: int, size: int) -> Store:
    """The meeting point of the tasks of one srun: the step's first node, or MASTER_ADDR, MASTER_PORT where set.

    Keys carry the step's name, so that ranks which reach another step's store wait there unheard. Raises ClapasError on
    rank 0 where the port is taken.
    """
    environment = os.environ
    job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
    host = environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"])
    port = int(environment.get("MASTER_PORT") or step_port(job, step))
    patience = timedelta(seconds=RENDEZVOUS_SECONDS)
    try:
        store = TCPStore(host, port, size, rank == 0, patience, wait_for_workers=False)
    except dist.DistNetworkError as error:
        if rank:
            raise
        raise ClapasError(
            "the ranks cannot meet",
            where=f"{host}:{port}",
            found=str(error).partition("\n")[0],
            wanted="a port of the step's first node that nothing else uses",
            way_out="`export MASTER_PORT=…` with another one, before srun",
        ) from error
    return PrefixStore(f"{job}.{step}", store)


def first_host(node_list: str) -> str:
    """The first host of a Slurm node list: `jean-zay-[012-015,020]` -> `jean-zay-012`."""
    return re.sub(r"\[(\w+)[^]]*\]", r"\1", node_list).split(",")[0]
