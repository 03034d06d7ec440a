"""Why a run may be far from its hardware's peak: each likely cause is a small test of facts.

Only causes that hold are named. A step that is far from the peak for a reason that is not listed says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

LOW = {"cuda": 0.30, "cpu": 0.40}
"""MFU below which something is amiss. Dense models of 1B to 70B reach 0.35 to 0.55 on A100 and H100 (PaLM, Llama 3,
torchtitan); a CPU's peak is a matrix product measured in this process, which is easier to come near."""
DATA_SHARE = 0.05
COMMUNICATION_SHARE = 0.25
STRAGGLER_EXCESS = 0.10
SMALL_PASS = {"cuda": 8192, "cpu": 512}
"""Tokens of one micro-batch below which a forward is too short to fill the device."""
SMALL_WIDTH = {"cuda": 1024, "cpu": 256}
"""`model.hidden_size` below which matrix products are too small to come near the peak."""
FREE_MEMORY = 0.3


@dataclass(frozen=True, slots=True)
class Facts:
    """What the causes are judged by. shares: parts of the step's time, by part. could_compile: is not, and may be.

    memory_free: share of the fullest rank's GPU that was never used; None on a CPU. threads: of one rank.
    ranks_here, cores: ranks that share this rank's cores, and how many these are. load: processes that wanted to run
    here over the last minute (`os.getloadavg`).
    """

    device: str
    precision: str
    mfu: float
    shares: Mapping[str, float]
    hidden_size: int
    micro_batch_tokens: int
    document_mask: bool
    could_compile: bool
    activation_checkpointing: str
    offloaded: bool
    slowest_rank: int | None = None
    slowest_rank_excess: float = 0.0
    memory_free: float | None = None
    threads: int = 1
    ranks_here: int = 1
    cores: int = 1
    load: float = 0.0
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def on_gpu(self) -> bool:
        """Whether this is about a GPU."""
        return self.device == "cuda"


Cause = Callable[[Facts], str | None]


def launch_blocking(facts: Facts) -> str | None:
    """Every kernel waits for the one before."""
    if facts.on_gpu and facts.environment.get("CUDA_LAUNCH_BLOCKING", "0") not in ("", "0"):
        return "CUDA_LAUNCH_BLOCKING is set, so the GPU idles between any two kernels: unset it"
    return None


def data_bound(facts: Facts) -> str | None:
    """Steps wait for batches."""
    share = facts.shares.get("data", 0.0)
    if share > DATA_SHARE:
        return f"{share:.0%} of a step waits for data: put the shards on a faster file system (`data.path`)"
    return None


def no_fused_attention(facts: Facts) -> str | None:
    """torch's flash kernel takes half precision and no mask."""
    if not facts.on_gpu:
        return None
    if facts.precision == "fp32":
        return "attention in fp32 has no flash kernel: precision=bf16"
    if facts.document_mask:
        return "attention under a document mask has no flash kernel: data.document_mask=false, if the data allow it"
    return None


def not_compiled(facts: Facts) -> str | None:
    """Many small kernels where compiled code has few."""
    if facts.on_gpu and facts.could_compile:
        return "the model is not compiled: compute.compile=true"
    return None


def small_micro_batch(facts: Facts) -> str | None:
    """A forward of few tokens does not fill the device."""
    least = SMALL_PASS["cuda" if facts.on_gpu else "cpu"]
    if facts.micro_batch_tokens < least:
        return f"a micro-batch has {facts.micro_batch_tokens:,} tokens, under {least:,}: raise train.micro_batch_size"
    return None


def small_model(facts: Facts) -> str | None:
    """Small matrix products do not reach the peak of large ones."""
    least = SMALL_WIDTH["cuda" if facts.on_gpu else "cpu"]
    if facts.hidden_size < least:
        return f"the model is narrow (hidden_size {facts.hidden_size}, under {least}): its matrix products are small"
    return None


def needless_checkpointing(facts: Facts) -> str | None:
    """Computing layers again to save memory that nobody needs."""
    if facts.activation_checkpointing == "full" and facts.memory_free is not None and facts.memory_free > FREE_MEMORY:
        free = f"{facts.memory_free:.0%} of the GPU's memory was never used"
        return f"every layer is computed twice, and {free}: compute.activation_checkpointing=selective, or none"
    return None


def stragglers(facts: Facts) -> str | None:
    """All ranks are as slow as the slowest."""
    if facts.slowest_rank is not None and facts.slowest_rank_excess > STRAGGLER_EXCESS:
        return f"rank {facts.slowest_rank} computes {facts.slowest_rank_excess:.0%} longer than the median rank"
    return None


def waiting_for_ranks(facts: Facts) -> str | None:
    """Collectives take long against the compute between them."""
    share = facts.shares.get("communication", 0.0)
    if share > COMMUNICATION_SHARE:
        return f"{share:.0%} of a step waits for other ranks: fewer ranks, or a larger train.global_batch_size"
    return None


def offloaded(facts: Facts) -> str | None:
    """The optimizer's states travel to the host and back."""
    if facts.offloaded:
        return "parallel.offload moves state between host and GPU in every step: more ranks may do without"
    return None


def too_many_threads(facts: Facts) -> str | None:
    """Threads of several ranks fight for cores."""
    wanted = facts.threads * facts.ranks_here
    if not facts.on_gpu and wanted > facts.cores:
        here = f"{facts.ranks_here} ranks of {facts.threads} threads on {facts.cores} cores"
        return f"{here}: train.threads={max(1, facts.cores // facts.ranks_here)}"
    return None


def idle_cores(facts: Facts) -> str | None:
    """Cores that no rank uses."""
    wanted = facts.threads * facts.ranks_here
    if not facts.on_gpu and 2 * wanted <= facts.cores:
        fits = facts.cores // facts.ranks_here
        return f"{wanted} of {facts.cores} cores are used (OMP_NUM_THREADS or train.threads): train.threads={fits}"
    return None


def busy_machine(facts: Facts) -> str | None:
    """Others compute here too."""
    others = facts.load - facts.threads * facts.ranks_here
    if not facts.on_gpu and others > max(1.0, facts.cores / 4):
        return f"other processes keep about {others:.0f} of {facts.cores} cores busy"
    return None


CAUSES: tuple[Cause, ...] = (
    launch_blocking,
    data_bound,
    waiting_for_ranks,
    stragglers,
    too_many_threads,
    idle_cores,
    busy_machine,
    no_fused_attention,
    not_compiled,
    needless_checkpointing,
    offloaded,
    small_micro_batch,
    small_model,
)
"""The most telling first."""


def is_low(facts: Facts) -> bool:
    """Whether this is less than such hardware gives."""
    return facts.mfu < LOW["cuda" if facts.on_gpu else "cpu"]


def causes(facts: Facts) -> list[str]:
    """The likely causes that hold, the most telling first."""
    return [text for cause in CAUSES if (text := cause(facts)) is not None]
