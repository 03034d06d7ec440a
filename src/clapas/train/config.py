"""The recipe's sections that the training loop reads: length, stages, optimizer, schedule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from clapas.loader.config import Epochs, Temperature, Weight, refuse_both
from clapas.recipe.typed import Section

Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


def with_named_options(values: Any, options: Mapping[str, Mapping[str, Any]], default: str) -> Any:
    """A section's values with the defaults of the options that its `name` has, so that a resolved recipe says them.

    options: name -> its own options with their defaults; keys in none of them belong to all.
    Raises ValueError where an option of another name is given.
    """
    if not isinstance(values, dict):
        return values  # pydantic says what is wrong
    name = values.get("name", default)
    if name not in options:
        return values
    for key, value in values.items():
        owners = [owner for owner, own in options.items() if key in own]
        if value is not None and owners and name not in owners:
            raise ValueError(f"{key}: has no meaning with name: {name}; it belongs to {' and '.join(owners)}")
    return values | {key: value for key, value in options[name].items() if values.get(key) is None}


class TrainConfig(Section):
    """How long, and in which batches.

    steps or tokens: the length of the run, in optimizer steps or in training tokens (rounded up to a step). With
        `stages` neither: the run is as long as they are.
    global_batch_size: samples of `data.sequence_length` tokens in one optimizer step, over all ranks.
    batch_ramp: smaller batches at the beginning: until step -> global batch size, as {500: 32, 1000: 64}; after the
        last of them `global_batch_size`.
    micro_batch_size: samples that one rank holds at once; by default its whole share of the global batch.
    threads: CPU threads of one rank; by default the machine's cores shared among its ranks.
    freeze: patterns of parameter names (`model.embed_tokens*`) that keep their initial values.
    z_loss: weight of (log sum exp)^2 of each target's logits in what is minimised, which keeps logits from drifting;
        1e-4 is usual (Chowdhery et al., 2022, PaLM), 0 for none. No loss that is logged or evaluated contains it.
    """

    also_called: ClassVar[dict[str, str]] = {
        "batch_size": "global_batch_size",
        "per_device_train_batch_size": "micro_batch_size",
        "train_batch_size": "global_batch_size",
        "max_steps": "steps",
        "train_iters": "steps",
        "max_tokens": "tokens",
        "rampup_batch_size": "batch_ramp",
    }

    steps: PositiveInt | None = None
    tokens: PositiveInt | None = None
    global_batch_size: PositiveInt
    batch_ramp: Annotated[dict[PositiveInt, PositiveInt], Field(min_length=1)] | None = None
    micro_batch_size: PositiveInt | None = None
    threads: PositiveInt | None = None
    freeze: tuple[str, ...] = ()
    z_loss: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _micro_batches_divide(self) -> TrainConfig:
        if self.steps is not None and self.tokens is not None:
            raise ValueError("steps and tokens: both given; give one of the two")
        for batch in (self.global_batch_size, *(self.batch_ramp or {}).values()):
            if self.micro_batch_size is not None and batch % self.micro_batch_size:
                key = "global_batch_size" if batch == self.global_batch_size else "batch_ramp's"
                raise ValueError(f"micro_batch_size {self.micro_batch_size} does not divide {key} {batch}")
        return self


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"betas": (0.9, 0.95), "eps": 1e-8},
    "lion": {"betas": (0.9, 0.99)},
    "muon": {"betas": (0.9, 0.95), "eps": 1e-8, "momentum": 0.95},
    "schedule_free": {"betas": (0.9, 0.95), "eps": 1e-8},
}
"""Each optimizer's own options with their defaults."""


class MupConfig(Section):
    """Hyperparameters tuned at one width, used at another (muP; Yang et al., 2022): see `train.optimizers.mup`.

    base_width: the `model.hidden_size` at which `lr` and `initializer_range` were found. Widths must differ in the
    number of heads and in `intermediate_size` alike, with the same `head_dim`. A model from a `build` of one's own is
    initialised by it: there only the learning rates follow.
    """

    base_width: PositiveInt


class OptimizerConfig(Section):
    """How weights follow gradients. Weight decay is decoupled; it acts on matrices, never on norms and biases, nor on
    an input embedding that is not the head too (see `train.optimizers.groups`).

    adamw: Loshchilov & Hutter, 2019. lion: Chen et al., 2023; wants a 3 to 10 times smaller `lr` than adamw, and a
    `weight_decay` as many times larger. muon: Jordan, 2024, scaled as by Liu et al., 2025, so that adamw's `lr` and
    `weight_decay` serve; embeddings, head and vectors are left to adamw. schedule_free: Defazio et al., 2024, on AdamW;
    trains with `schedule.name: constant`.
    momentum: muon's, of the matrices. betas, eps: of all that is not muon's own.
    gradient_clipping: largest global L2 norm of the gradient, before any optimizer sees it; 0 turns clipping off.
    ema_decay: keep an exponential moving average of the weights, which evaluation and export then take; None: none.
    mup: scale initial weights and learning rates with the width of the model.
    """

    also_called: ClassVar[dict[str, str]] = {
        "learning_rate": "lr",
        "max_grad_norm": "gradient_clipping",
        "grad_clip": "gradient_clipping",
        "epsilon": "eps",
        "adam_epsilon": "eps",
        "type": "name",
        "ema": "ema_decay",
    }

    name: Literal["adamw", "lion", "muon", "schedule_free"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 3e-4
    betas: tuple[Beta, Beta] = (0.9, 0.95)  # by the optimizer's name, see OPTIMIZERS
    eps: Annotated[float, Field(gt=0)] | None = None
    momentum: Beta | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    gradient_clipping: Annotated[float, Field(ge=0)] = 1.0
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    mup: MupConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _options_of_this_optimizer(cls, values: Any) -> Any:
        return with_named_options(values, OPTIMIZERS, default="adamw")

    @model_validator(mode="after")
    def _one_average(self) -> OptimizerConfig:
        if self.name == "schedule_free" and self.ema_decay is not None:
            raise ValueError("ema_decay: has no meaning with name: schedule_free, which keeps an average of its own")
        return self


SCHEDULES: dict[str, dict[str, Any]] = {
    "cosine": {"min_lr_ratio": 0.1},
    "linear": {"min_lr_ratio": 0.1},
    "wsd": {"min_lr_ratio": 0.1, "decay_ratio": 0.2, "decay_shape": "linear"},
    "constant": {},
    "inverse_sqrt": {},
}
"""Each schedule's own options with their defaults. A fifth of a WSD run suffices to decay (Hägele et al., 2024)."""


class ScheduleConfig(Section):
    """The learning rate over a run, as a share of `optimizer.lr`. Each begins with a linear warm-up.

    cosine: then half a cosine down to `min_lr_ratio` at the last step (Loshchilov & Hutter, 2017).
    linear: then a straight line down to `min_lr_ratio` at the last step.
    wsd: then stable, then a decay over the last `decay_ratio` of the run (Hu et al., 2024, MiniCPM), along a line or
    along `1-sqrt`, which falls fast first (Hägele et al., 2024).
    constant: then stable. inverse_sqrt: then as 1 / sqrt(step) (Vaswani et al., 2017).
    warmup_steps or warmup_tokens: the length of the warm-up, in steps or in training tokens (rounded up to a step).
    """

    also_called: ClassVar[dict[str, str]] = {"warmup": "warmup_steps", "min_lr": "min_lr_ratio", "type": "name"}

    name: Literal["cosine", "linear", "wsd", "constant", "inverse_sqrt"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    warmup_tokens: PositiveInt | None = None
    min_lr_ratio: Share | None = None
    decay_ratio: Share | None = None
    decay_shape: Literal["linear", "1-sqrt"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _options_of_this_schedule(cls, values: Any) -> Any:
        return with_named_options(values, SCHEDULES, default="cosine")

    @model_validator(mode="after")
    def _one_warmup(self) -> ScheduleConfig:
        if self.warmup_steps and self.warmup_tokens is not None:
            raise ValueError("warmup_steps and warmup_tokens: both given; give one of the two")
        return self


class StageConfig(Section):
    """One of the parts of a run, in the order of the list; what it leaves out is the recipe's own. See docs/stages.md.

    name: for people to know it by; rows of metrics.jsonl carry it, or else its number from 1.
    steps or tokens: its length, in optimizer steps or in training tokens (rounded up to a step).
    mixture, sequence_length: as in `data`. A source goes on where the stages before left it, so that nothing is read
        twice before all of it was read; each sequence length has an order of its own, which begins at its beginning.
    temperature, token_budgets: as in `data`, the budgets over this stage. A mixture or a temperature of its own takes
        the place of the recipe's, whichever it has.
    max_epochs, max_epochs_by_source: as in `data`, from the run's beginning to this stage's end: a lower cap leaves
        something for the stages that follow.
    global_batch_size, micro_batch_size: as in `train`; a batch of its own is not ramped.
    schedule, lr: as in `schedule` and `optimizer`. With either, the schedule runs over this stage's steps alone,
        warm-up included; without, the recipe's own schedule goes on: it runs over all such stages together.
    """

    also_called: ClassVar[dict[str, str]] = {
        "batch_size": "global_batch_size",
        "seq_length": "sequence_length",
        "seq_len": "sequence_length",
        "learning_rate": "lr",
        "max_steps": "steps",
        "weights": "mixture",
    }

    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    steps: PositiveInt | None = None
    tokens: PositiveInt | None = None
    mixture: Annotated[dict[str, Weight], Field(min_length=1)] | None = None
    temperature: Temperature | None = None
    token_budgets: Annotated[dict[str, PositiveInt], Field(min_length=1)] | None = None
    max_epochs: Epochs | None = None
    max_epochs_by_source: Annotated[dict[str, Epochs], Field(min_length=1)] | None = None
    sequence_length: PositiveInt | None = None
    global_batch_size: PositiveInt | None = None
    micro_batch_size: PositiveInt | None = None
    schedule: ScheduleConfig | None = None
    lr: PositiveFloat | None = None

    @model_validator(mode="after")
    def _one_length(self) -> StageConfig:
        if (self.steps is None) == (self.tokens is None):
            given = "neither" if self.steps is None else "both"
            raise ValueError(f"steps and tokens: {given} given; give one of the two")
        refuse_both(self.mixture, self.temperature)
        return self

    def identity(self) -> dict[str, Any]:
        """What of it makes the run this run; keys that came later are told only where they are given."""
        values = self.model_dump(mode="json", exclude={"name", "micro_batch_size"})
        return {key: values[key] for key in values if key not in LATER_KEYS or values[key] is not None}


LATER_KEYS = ("temperature", "token_budgets", "max_epochs", "max_epochs_by_source")
"""Of a stage: without them it has the identity that it had before they existed."""


class BranchConfig(Section):
    """Begin after another run's checkpoint instead of at step 0, with another schedule, length or data.

    checkpoint: its folder, `RUN/checkpoints/step-…`. Weights, moments and all else go on from it; steps count on, so
        that `train.steps` is the length of both together, and the schedule of this recipe goes on at the next step.
    seal: what its COMMITTED says, the SHA-256 of its manifest: it belongs to the identity of the run. Found when the
        branch first starts; where the checkpoint is another one then or later, the start is refused.
    """

    checkpoint: Path
    seal: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


def check_optimizer(
    optimizer: OptimizerConfig, schedules: Mapping[str, ScheduleConfig], *, tied: bool, tensor: int
) -> None:
    """Raise ValueError where the optimizer cannot work with the other sections.

    schedules: dotted key -> schedule, of every stage. tied: whether the head is the embedding. tensor: ranks that share
    each matrix.
    """
    for key, schedule in schedules.items():
        if optimizer.name == "schedule_free" and schedule.name != "constant":
            raise ValueError(
                f"{key}.name: found {schedule.name}; must be constant with optimizer.name: schedule_free, "
                "whose average takes the place of a decay: schedule={name: constant, warmup_steps: …}"
            )
    if optimizer.mup is not None and tied:
        raise ValueError(
            "model.tie_word_embeddings: found true; must be false with optimizer.mup: a head wants initial weights "
            "and a learning rate that fall with the width, an embedding wants them as they are"
        )
    if optimizer.name == "muon" and tensor > 1:
        raise ValueError(
            f"parallel.tensor: found {tensor}; must be 1 with optimizer.name: muon, which needs whole matrices: "
            "parallel.zero_stage=3 shards a model too"
        )
