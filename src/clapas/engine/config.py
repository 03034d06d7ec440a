"""The recipe's section on how a model is spread over ranks."""

from __future__ import annotations

from typing import ClassVar, Literal

from clapas.recipe.typed import Section

Precision = Literal["fp32", "bf16"]


class ParallelConfig(Section):
    """zero_stage: what DeepSpeed ZeRO shards over the data-parallel ranks (Rajbhandari et al., 2020):
    0 nothing, 1 optimizer states, 2 and gradients, 3 and parameters."""

    also_called: ClassVar[dict[str, str]] = {
        "stage": "zero_stage",
        "zero": "zero_stage",
        "zero_optimization": "zero_stage",
    }

    zero_stage: Literal[0, 1, 2, 3] = 1
