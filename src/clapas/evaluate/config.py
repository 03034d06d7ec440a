"""The recipe's section on what is measured while a model trains."""

from __future__ import annotations

from typing import ClassVar

from pydantic import PositiveInt

from clapas.recipe.typed import Section


class EvaluationConfig(Section):
    """Loss and bits per byte on documents that the model does not train on; and tasks.

    every: optimizer steps between two evaluations; the last step is always evaluated.
    split: of the data, as in their manifest.
    tokens: how many of its tokens are scored, from its beginning; by default all.
    stride: new tokens of each window; by default half of `data.sequence_length`, so that each has as many before it.
    batch_size: windows that one rank scores at once.
    tasks: that run on the weights as they train: `local` (all that ship), one of these by name, or YAML files as
    lm-eval reads them, with their data beside them. tasks_every: optimizer steps between two runs of them; by default
    `every`. tasks_limit: items of each, from its beginning; by default all.
    """

    also_called: ClassVar[dict[str, str]] = {
        "eval_every": "every",
        "eval_steps": "every",
        "interval": "every",
        "max_tokens": "tokens",
        "per_device_eval_batch_size": "batch_size",
    }

    every: PositiveInt = 1000
    split: str = "heldout"
    tokens: PositiveInt | None = None
    stride: PositiveInt | None = None
    batch_size: PositiveInt = 16
    tasks: tuple[str, ...] = ()
    tasks_every: PositiveInt | None = None
    tasks_limit: PositiveInt | None = None

    def stride_of(self, sequence_length: int) -> int:
        """The stride of windows of `sequence_length` tokens."""
        return self.stride or max(1, sequence_length // 2)
