"""The interface of a generation engine, and the recipe's one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from clapas.tune.grpo.config import Grpo
from clapas.tune.grpo.engines.own import OwnEngine
from clapas.tune.grpo.engines.vllm import VllmEngine
from clapas.tune.grpo.rollouts import Completion
from clapas.tune.objective import Training


class GenerationEngine(Protocol):
    """Generates with the weights that the run has now. All ranks call both methods together, equally often.

    run: in its present segment.
    """

    run: Training

    def begin_step(self) -> None:
        """Before the first completions of a step: the weights are new."""
        ...

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Completion]:
        """One completion of each prompt, drawn with its seed; the same whatever stands beside it."""
        ...


def open_engine(run: Training, objective: Grpo, *, ends: Collection[int], vocabulary: int) -> GenerationEngine:
    """The recipe's engine. ends: tokens that end a completion. vocabulary: ids that may be drawn.

    Raises UserError where it needs what is not installed.
    """
    engines = {"own": OwnEngine, "vllm": VllmEngine}
    return engines[objective.engine](run, objective, ends=ends, vocabulary=vocabulary)
