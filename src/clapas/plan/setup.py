"""How a model is trained: what of a recipe decides its memory and its speed, on so many ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from clapas.recipe.phases import Phase
    from clapas.recipe.recipe import Recipe

Checkpointing = Literal["none", "selective", "full"]

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
MOMENTS = {"adamw": 2, "lion": 1, "muon": 2, "schedule_free": 2}
"""fp32 numbers that each optimizer keeps for a parameter (Muon: at most; its matrices have one)."""


@dataclass(frozen=True)
class Setup:
    """How one model is spread over ranks, and what each step reads.

    ranks_per_node: at most; fewer where all ranks are fewer. micro_batch, accumulation: samples that a rank holds at
    once, and how often in a step. moments: fp32 numbers of the optimizer for each parameter, an average included.
    keys as in `ParallelConfig` and `ComputeConfig`. pipeline: stages of layers; 1, but in runs of others.
    """

    ranks: int
    ranks_per_node: int
    sequence_length: int
    micro_batch: int
    accumulation: int = 1
    zero_stage: int = 1
    tensor: int = 1
    sequence: int = 1
    pipeline: int = 1
    hpz: int = 1
    offload: bool = False
    offload_parameters: bool = False
    checkpointing: Checkpointing = "none"
    tile: int | None = None
    precision: str = "bf16"
    reduce_precision: str = "fp32"
    quantized_weights: bool = False
    quantized_gradients: bool = False
    moments: int = 2

    @property
    def peers(self) -> int:
        """Ranks that hold the same part of the weights: ZeRO shards over them."""
        return self.ranks // (self.tensor * self.pipeline)

    @property
    def readers(self) -> int:
        """Ranks that read different samples."""
        return self.peers // self.sequence

    @property
    def nodes(self) -> int:
        """Nodes, the last of them perhaps not full."""
        return -(-self.ranks // self.ranks_per_node)

    @property
    def tokens_per_micro_batch(self) -> int:
        """Tokens that one rank holds at once."""
        return self.micro_batch * self.sequence_length // self.sequence

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one step, over all ranks."""
        return self.micro_batch * self.accumulation * self.readers * self.sequence_length

    @property
    def width(self) -> int:
        """Bytes of a number that the model computes with."""
        return BYTES[self.precision]


def longest_phase(recipe: Recipe) -> Phase:
    """The phase of the longest samples, and of those the one of the largest batch."""
    return max(recipe.phases, key=lambda phase: (phase.sequence_length, phase.tokens_per_step))


def moments_of(recipe: Recipe) -> int:
    """fp32 numbers that the optimizer keeps for each parameter, an average included."""
    return MOMENTS[recipe.optimizer.name] + (recipe.optimizer.ema_decay is not None)


def setup_of(
    recipe: Recipe, ranks: int, ranks_per_node: int, micro_batch: int | None = None, phase: Phase | None = None
) -> Setup:
    """A recipe's own layout on so many ranks, which must make whole copies of the model.

    micro_batch: by default the recipe's, or a rank's whole share. phase: whose batch; by default the longest's.
    """
    parallel, compute = recipe.parallel, recipe.compute
    phase = phase or longest_phase(recipe)
    readers = max(1, ranks // (parallel.tensor * parallel.sequence))
    share = max(1, phase.global_batch_size // readers)
    micro = min(share, micro_batch or phase.micro_batch_size or share)
    return Setup(
        ranks=ranks,
        ranks_per_node=ranks_per_node,
        sequence_length=phase.sequence_length,
        micro_batch=micro,
        accumulation=share // micro,
        zero_stage=parallel.zero_stage,
        tensor=parallel.tensor,
        sequence=parallel.sequence,
        hpz=parallel.hpz,
        offload=parallel.offload == "cpu",
        offload_parameters=parallel.offload_parameters,
        checkpointing=compute.activation_checkpointing,
        tile=compute.tiled_mlp,
        precision=recipe.precision,
        reduce_precision=parallel.reduce_precision,
        quantized_weights=parallel.quantized_weights,
        quantized_gradients=parallel.quantized_gradients,
        moments=moments_of(recipe),
    )
