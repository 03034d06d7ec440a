"""Which layouts a recipe may train in, the best first, and why each other does not do.

A layout is what changes no result: ZeRO stage, tensor and sequence ranks, checkpointing, micro-batch. Of each kind the
micro-batch that is fastest stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import gcd
from typing import TYPE_CHECKING

from clapas.plan.hardware import Device
from clapas.plan.memory import USABLE, Memory, memory_of
from clapas.plan.setup import Checkpointing, Setup, longest_phase
from clapas.plan.shape import Shape
from clapas.plan.speed import StepTime, step_time

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe

TENSOR = (1, 2, 4, 8)
SEQUENCE = (1, 2, 4, 8)
AS_FAST = 0.98
"""Share of a speed that is no worse: the plan's own error is several times as large."""
LONG_SEQUENCE = 16_384
"""Tokens from which on sequence ranks are tried."""
LARGEST_MICRO_BATCH = 64
MOST_NODES = 4096
"""Of which the smallest number that fits is looked for."""


@dataclass(frozen=True)
class Needs:
    """What of a recipe every layout of it must serve, in every stage and step of a batch ramp.

    batches: samples of a step, over all ranks; the first is the longest stage's. lengths: tokens of a sample.
    unread: batch sizes that no step has, and that a micro-batch must divide all the same: training refuses otherwise.
    whole_matrices: whether the optimizer cannot do with a part of a matrix.
    """

    batches: tuple[int, ...]
    lengths: tuple[int, ...]
    unread: tuple[int, ...] = ()
    whole_matrices: bool = False


def needs_of(recipe: Recipe) -> Needs:
    """Of a recipe."""
    batches = [longest_phase(recipe).global_batch_size, *(phase.global_batch_size for phase in recipe.phases)]
    return Needs(
        batches=tuple(dict.fromkeys(batches)),
        lengths=tuple(dict.fromkeys(phase.sequence_length for phase in recipe.phases)),
        unread=(recipe.train.global_batch_size, *(recipe.train.batch_ramp or {}).values()),
        whole_matrices=recipe.optimizer.name == "muon",
    )


@dataclass(frozen=True)
class Candidate:
    """A layout with what it needs and gives. problem: why it does not do; None: it does."""

    setup: Setup
    memory: Memory | None
    time: StepTime | None
    problem: str | None = None

    @property
    def tokens_per_second_per_gpu(self) -> float:
        """Of training; 0 where it does not do."""
        return self.setup.tokens_per_step / self.time.total / self.setup.ranks if self.time else 0.0


def candidate(shape: Shape, setup: Setup, device: Device, node_gbit: float) -> Candidate:
    """A setup, judged."""
    memory = memory_of(shape, setup, device)
    problem = None
    if not memory.fits:
        name, size = max(memory.components.items(), key=lambda item: item[1])
        need = f"{memory.total / 1e9:,.1f} GB of {memory.available / 1e9:,.0f} GB, {USABLE:.0%} of them usable"
        problem = f"needs {need}, most of it {name} ({size / 1e9:,.1f} GB)"
    return Candidate(setup, memory, step_time(shape, setup, device, node_gbit), problem)


def search(shape: Shape, own: Setup, needs: Needs, device: Device, node_gbit: float) -> list[Candidate]:
    """The best layout of each kind: those that do, fastest first; then those that do not. own: the recipe's."""
    found: list[Candidate] = []
    for kind in _kinds(shape, own):
        problem = _problem(shape, kind, needs)
        if problem is not None:
            found.append(Candidate(kind, None, None, problem))
            continue
        shares = [batch // kind.readers for batch in needs.batches]
        common = gcd(*shares, *needs.unread)
        sizes = [n for n in range(1, min(common, LARGEST_MICRO_BATCH) + 1) if common % n == 0]
        tried = []
        for size in sizes:
            if kind.zero_stage == 0 and max(shares) > size and kind.precision != "fp32":
                continue
            setup = replace(kind, micro_batch=size, accumulation=shares[0] // size)
            tried.append(candidate(shape, setup, device, node_gbit))
            if tried[-1].problem:  # a larger one needs more
                break
        if not tried:
            reason = f"ZeRO-0 cannot accumulate {kind.precision} gradients: {max(shares)} samples a rank are too many"
            found.append(Candidate(kind, None, None, reason))
            continue
        do = [one for one in tried if one.problem is None]
        found.append(_best(do) if do else tried[0])
    return sorted(found, key=lambda one: (one.problem is not None, -one.tokens_per_second_per_gpu))


def _best(sizes: list[Candidate]) -> Candidate:
    """The fastest, or a larger micro-batch as fast: a plan does not count what starting many small kernels costs."""
    fastest = max(one.tokens_per_second_per_gpu for one in sizes)
    as_fast = [one for one in sizes if one.tokens_per_second_per_gpu >= AS_FAST * fastest]
    return max(as_fast, key=lambda one: one.setup.micro_batch)


def _kinds(shape: Shape, own: Setup) -> Iterator[Setup]:
    """Every kind of layout worth a look."""
    base = replace(own, hpz=1, offload=False, offload_parameters=False, tile=None)
    exact = replace(base, quantized_weights=False, quantized_gradients=False)  # ZeRO++'s are stage 3's only
    policies: tuple[Checkpointing, ...] = ("none", "selective", "full")
    for tensor in TENSOR:
        if tensor > own.ranks_per_node or (shape.experts and tensor > 1):
            continue
        for sequence in SEQUENCE:
            if sequence > max(1, own.sequence) and own.sequence_length < LONG_SEQUENCE:
                continue
            for stage in range(4):
                for policy in policies:
                    of_stage = base if stage == 3 else exact
                    kind = replace(of_stage, tensor=tensor, sequence=sequence, zero_stage=stage, checkpointing=policy)
                    yield kind
                    if stage == 3 and tensor == 1 and own.ranks > own.ranks_per_node > 1:
                        yield replace(kind, hpz=own.ranks_per_node)


def _problem(shape: Shape, kind: Setup, needs: Needs) -> str | None:
    """Why a kind cannot be, whatever its micro-batch."""
    if kind.ranks % (kind.tensor * kind.sequence):
        return f"{kind.ranks} ranks do not make whole copies of {kind.tensor * kind.sequence}"
    heads = shape.num_key_value_heads
    if heads % (kind.tensor * kind.sequence) or shape.intermediate_size % kind.tensor:
        return f"{heads} key-value heads cannot be shared by {kind.tensor * kind.sequence}"
    if kind.tensor > 1 and shape.adapters is not None:
        return "adapted projections are not cut over tensor ranks"
    if kind.zero_stage == 3 and shape.adapters is not None and shape.adapters.in_4_bits:
        return "ZeRO-3 cuts weights into parts that 4-bit blocks do not survive"
    if kind.tensor > 1 and needs.whole_matrices:
        return "Muon needs whole matrices, which tensor ranks do not have"
    if kind.tensor > 1 and kind.checkpointing == "selective":
        return "selective checkpointing is wrong with tensor ranks (docs/decisions/046)"
    if kind.tensor > 1 and kind.zero_stage == 0 and kind.precision != "fp32":
        return "ZeRO-0 in 16 bits takes a part of the gradient's norm for the whole with tensor ranks"
    if kind.hpz > 1 and kind.ranks % kind.hpz:
        return f"{kind.ranks} ranks are not groups of {kind.hpz}"
    for length in needs.lengths:
        if length % kind.sequence:
            return f"{length} tokens of a sample cannot be shared equally among {kind.sequence} ranks"
    for batch in needs.batches:
        if batch % kind.readers:
            return f"{batch} samples cannot be shared equally among {kind.readers} ranks"
    return None


def smallest_that_fits(shape: Shape, own: Setup, needs: Needs, device: Device) -> str:
    """For the message where nothing fits: the fewest nodes that can share the batches and have room, and how."""
    needed = []
    for nodes in range(1, MOST_NODES + 1):
        for kind in _thrifty(shape, replace(own, ranks=nodes * own.ranks_per_node)):
            if _problem(shape, kind, needs) is not None:
                continue
            memory = memory_of(shape, kind, device)
            if memory.fits:
                shared = [f"{name} {getattr(kind, name)}" for name in ("tensor", "sequence") if getattr(kind, name) > 1]
                how = ", ".join([f"zero_stage {kind.zero_stage}", *shared, "full checkpointing"])
                return f"{nodes} node{'s' * (nodes > 1)} with {how} and a micro-batch of 1"
            needed.append(memory.total)
    told = f"a device with {min(needed) / 1e9:,.0f} GB: " if needed else ""
    return f"{told}of {device.name} no number does that can share a step of {needs.batches[0]:,} samples"


def _thrifty(shape: Shape, own: Setup) -> Iterator[Setup]:
    """The kinds that need least, ZeRO-3 first."""
    kinds = [kind for kind in _kinds(shape, own) if kind.checkpointing == "full" and kind.zero_stage and kind.hpz == 1]
    for kind in sorted(kinds, key=lambda kind: (-kind.zero_stage, kind.tensor * kind.sequence)):
        yield replace(kind, micro_batch=1, accumulation=1)
