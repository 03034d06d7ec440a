"""The recipe's `objective` with `name: grpo`, and the rewards that it adds up. No torch."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from clapas.recipe.typed import Section
from clapas.tune.section import ObjectiveSection

Number = Annotated[float, Field(allow_inf_nan=False)]
THOUGHT_AND_ANSWER = r"<pense>.+?</pense>\s*<réponse>.+?</réponse>"


class MathReward(Section):
    """1 where the completion's final answer is the number of a column, however it is written; else 0.

    column: of documents.parquet, with the right answer.
    """

    name: Literal["math"]
    weight: Number = 1.0
    column: Annotated[str, Field(min_length=1)] = "answer"


class FormatReward(Section):
    """1 where the whole completion, spaces around it apart, matches a regular expression (a dot matches line ends)."""

    name: Literal["format"]
    weight: Number = 1.0
    pattern: Annotated[str, Field(min_length=1)] = THOUGHT_AND_ANSWER

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"found {pattern!r}, which is no regular expression: {error}") from None
        return pattern


class FrenchReward(Section):
    """The probability that the completion is French, by the models of the step `language` (extra `data`)."""

    name: Literal["french"]
    weight: Number = 1.0


class LengthReward(Section):
    """Against long completions: 0 up to `most` - `margin` tokens, then down a straight line to -1 at `most` (DAPO's
    overlong punishment; Yu et al., 2025).

    most: by default `max_new_tokens`. margin: by default a fifth of `most`.
    """

    name: Literal["length"]
    weight: Number = 1.0
    most: PositiveInt | None = None
    margin: PositiveInt | None = None


class FunctionReward(Section):
    """A function of your own: `f(prompts, completions, completion_ids, **columns)` -> a number a completion, as TRL's.

    It is called once a prompt, with all of the prompt's completions, each argument a list as long.
    function: `module:function`; the module is looked for in the working directory too.
    """

    name: Literal["function"]
    weight: Number = 1.0
    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]

    @property
    def called(self) -> str:
        """What it is called in logs."""
        return self.function.partition(":")[2]


RewardConfig = Annotated[
    MathReward | FormatReward | FrenchReward | LengthReward | FunctionReward, Field(discriminator="name")
]


def reward_name(reward: RewardConfig) -> str:
    """What a reward is called in columns and logs: its name; a function's own."""
    return reward.called if isinstance(reward, FunctionReward) else reward.name


class Grpo(ObjectiveSection):
    """Group relative policy optimisation (Shao et al., 2024): the model answers each prompt `group_size` times, and
    learns from what is rewarded more than the group's mean. Reads prompts (`clapas data chat --kind prompts`). A sample
    is a prompt: a step has `train.global_batch_size` x `group_size` completions. Keys are TRL's where it has them.

    group_size: completions of a prompt.
    max_new_tokens: at most, of a completion. `data.sequence_length` is the most that a prompt may have.
    temperature, top_p: of sampling; log-probabilities are those at this temperature.
    loss: what tokens are divided by. `dapo`: all tokens of the step's completions; `grpo`: each completion's own
        length, then the completions; `dr_grpo`: `max_new_tokens`, then the completions (Liu et al., 2025).
    scale_rewards: advantages are divided by the standard deviation of the rewards of their group, of the whole batch
        (the step, all ranks), or not.
    epsilon, epsilon_high: the ratio of a token's probability to that with which it was sampled is clipped to
        1 - epsilon, 1 + epsilon_high (by default epsilon). Completions are always of the current weights, so it departs
        from 1 by what sampling and training compute differently: rounding with `own`, more with `vllm`.
    beta: weight of the divergence from the initial weights, which are then held a second time on every rank; 0: none.
    rewards: are added up, each times its weight.
    engine: what generates. `own`: this model, with its cache. `vllm`: beside it on the same GPU.
    vllm_gpu_memory_utilization: the share of a GPU's memory that vLLM takes.
    """

    also_called: ClassVar[dict[str, str]] = {
        "num_generations": "group_size",
        "max_completion_length": "max_new_tokens",
        "loss_type": "loss",
        "epsilon_low": "epsilon",
        "kl_coef": "beta",
        "reward_funcs": "rewards",
    }

    name: Literal["grpo"]
    group_size: Annotated[int, Field(ge=2)] = 8
    max_new_tokens: PositiveInt = 512
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    loss: Literal["dapo", "grpo", "dr_grpo"] = "dapo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 0.2
    epsilon_high: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    rewards: Annotated[tuple[RewardConfig, ...], Field(min_length=1)]
    engine: Literal["own", "vllm"] = "own"
    vllm_gpu_memory_utilization: Annotated[float, Field(gt=0, lt=1)] = 0.3

    @model_validator(mode="after")
    def _rewards_have_names(self) -> Grpo:
        names = [reward_name(reward) for reward in self.rewards]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"rewards: found {twice[0]} twice; each must have a name of its own, for its column")
        return self

    def identity(self) -> dict[str, Any]:
        """What of it makes the run this run."""
        return self.model_dump(mode="json", exclude={"vllm_gpu_memory_utilization"})

    def check(
        self,
        *,
        sequence_length: int,
        positions: int,
        too_long: str,
        tensor: int,
        sequence: int,
        first: str | None,
        spike_threshold: float | None,
    ) -> None:
        """Raise ValueError where it does not go with the other sections.

        positions: `model.max_position_embeddings`. tensor, sequence: ranks that share a matrix, or a sample.
        first: the key of what the weights that it begins with are kept as; None: nowhere. spike_threshold: of
        `faults.spike`, if there is any.
        """
        if sequence_length + self.max_new_tokens > positions:
            raise ValueError(
                f"objective.max_new_tokens: found {self.max_new_tokens}, with prompts of data.sequence_length "
                f"{sequence_length}; together at most model.max_position_embeddings, which is {positions}"
            )
        if self.beta and first != "model.from":
            found = "without model.from" if first is None else f"with {first}"
            raise ValueError(
                f"objective.beta: found {self.beta:g} {found}: the weights to stay near to must be model.from's; "
                "or give objective.beta=0"
            )
        if spike_threshold is not None:
            raise ValueError(
                f"faults.spike.threshold: found {spike_threshold:g}; must be null with objective.name: grpo, whose "
                "loss is about 0 and whose gradient is 0 where no rewards differ: a step that teaches would be a spike"
            )
        if too_long == "truncate":
            raise ValueError(
                "data.too_long: found truncate; must be drop with objective.name: grpo: half a prompt is none"
            )
        for key, ranks in (("tensor", tensor), ("sequence", sequence)):
            if ranks > 1:
                raise ValueError(
                    f"parallel.{key}: found {ranks}; must be 1 with objective.name: grpo, whose generation holds whole "
                    "heads and whole texts: parallel.zero_stage=3 shards a model too"
                )
