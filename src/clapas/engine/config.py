"""The recipe's section on how a model is spread over ranks."""

from __future__ import annotations

from math import gcd
from typing import ClassVar, Literal

from pydantic import PositiveInt

from clapas.model.config import ModelConfig
from clapas.recipe.typed import Section

Precision = Literal["fp32", "bf16"]


class ParallelConfig(Section):
    """How the ranks share the work; no key here changes a run's result but by rounding. See `engine.layout`.

    zero_stage: what DeepSpeed ZeRO shards over the data-parallel ranks (Rajbhandari et al., 2020):
    0 nothing, 1 optimizer states, 2 and gradients, 3 and parameters.
    tensor: ranks that share each layer's weight matrices, for a model too large for one (Shoeybi et al., 2019). They
    talk in every layer: keep them within a node.
    sequence: ranks that share each sample's tokens, for contexts too long for one (Ulysses: Jacobs et al., 2023).
    """

    also_called: ClassVar[dict[str, str]] = {
        "stage": "zero_stage",
        "zero": "zero_stage",
        "zero_optimization": "zero_stage",
        "tensor_parallel_size": "tensor",
        "autotp_size": "tensor",
        "sequence_parallel_size": "sequence",
        "context_parallel_size": "sequence",
    }

    zero_stage: Literal[0, 1, 2, 3] = 1
    tensor: PositiveInt = 1
    sequence: PositiveInt = 1


def check_shares(parallel: ParallelConfig, model: ModelConfig, sequence_length: int) -> None:
    """Whether heads, feed-forward layer and sequence can be cut. Raises ValueError that names key, value and way out.

    Ulysses gives each sequence rank whole heads of those that its tensor rank holds: both sizes divide them together.
    """
    heads = {
        "model.num_key_value_heads": model.num_key_value_heads,
        "model.num_attention_heads": model.num_attention_heads,
    }
    tensor, sequence = parallel.tensor, parallel.sequence
    _check_divides("parallel.tensor", tensor, {**heads, "model.intermediate_size": model.intermediate_size})
    left = {f"{name} / parallel.tensor" if tensor > 1 else name: count // tensor for name, count in heads.items()}
    _check_divides("parallel.sequence", sequence, {**left, "data.sequence_length": sequence_length})


def _check_divides(key: str, size: int, extents: dict[str, int]) -> None:
    for name, extent in extents.items():
        if extent % size:
            common = gcd(*extents.values())
            sizes = ", ".join(str(number) for number in range(1, common + 1) if common % number == 0)
            raise ValueError(f"{key}: found {size}; must divide {name}, which is {extent}; possible here: {sizes}")
