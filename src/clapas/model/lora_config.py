"""The recipe's section on low-rank adapters, and what follows from it without a model at hand.

A frozen matrix W, (out, in), gets a trained product of two thin ones (LoRA: Hu et al., 2021, arXiv:2106.09685):

    y = W x + s B A x,   A (rank, in), B (out, rank),   s = alpha / rank, or alpha / sqrt(rank) (rsLoRA, 2312.03732)

DoRA (Liu et al., 2024, arXiv:2402.09353) trains each output's magnitude m, (out,), beside it:

    y = m / ||W + s B A|| (W x + s B A x),   the norm over each row, taken as a constant in the backward pass

No torch here: `clapas plan` and a recipe's checks run on a login node.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from clapas.recipe.typed import Section

if TYPE_CHECKING:
    from clapas.model.config import ModelConfig

Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ATTENTION: tuple[Projection, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD: tuple[Projection, ...] = ("gate_proj", "up_proj", "down_proj")
DOWN, UP, MAGNITUDE = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"
"""PEFT's names of A, B and m, after the name of the projection that they adapt."""


class LoraConfig(Section):
    """Low-rank adapters on frozen projections, as PEFT has them; left out, every weight trains.

    rank: of the product that each projection gets.
    alpha: the product counts alpha / rank; by default twice the rank.
    targets: projections that get one: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj; by default all.
    dora: also train the magnitude of each output (DoRA).
    rslora: the product counts alpha / sqrt(rank) instead, which keeps its size as the rank grows.
    quantize: nf4 holds the adapted projections in 4 bits (QLoRA), which needs a GPU and bitsandbytes.
    from: a folder in PEFT's format with the adapter to begin with; by default A is drawn and B is zero.
    seal: SHA-256 of that adapter's weights, which a run writes down itself.
    """

    also_called: ClassVar[dict[str, str]] = {
        "r": "rank",
        "lora_alpha": "alpha",
        "target_modules": "targets",
        "use_dora": "dora",
        "use_rslora": "rslora",
        "load_in_4bit": "quantize",
        "adapter": "from",
    }

    rank: PositiveInt
    alpha: PositiveFloat = 0.0  # never read: see _explicit_defaults
    targets: tuple[Projection | Literal["all-linear"], ...] = Field(("all-linear",), min_length=1)
    dora: bool = False
    rslora: bool = False
    quantize: Literal["nf4"] | None = None
    from_: Path | None = Field(None, alias="from")
    seal: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _explicit_defaults(cls, values: Any) -> Any:
        """Make alpha explicit, so that a resolved recipe says it; and say why there is no dropout."""
        if not isinstance(values, dict):
            return values
        for name in ("dropout", "lora_dropout"):
            if name in values:
                raise ValueError(
                    f"{name}: found {values[name]}; there is none, for a resume on other ranks could not draw the same "
                    "(docs/decisions/148): leave it out, or lower lora.rank or optimizer.lr"
                )
        rank = values.get("rank")
        if values.get("alpha") is None and isinstance(rank, int) and rank > 0:
            return values | {"alpha": 2.0 * rank}
        return values

    @field_validator("targets", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def scaling(self) -> float:
        """What B A is multiplied with."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    @property
    def projections(self) -> tuple[Projection, ...]:
        """The projections of a layer that have an adapter, in the model's order."""
        every = ATTENTION + FEED_FORWARD
        return tuple(name for name in every if name in self.targets or "all-linear" in self.targets)

    def sizes(self, model: ModelConfig) -> dict[Projection, tuple[int, int]]:
        """Outputs and inputs of each projection of a layer, with an adapter or without."""
        queries, shared = (heads * model.head_dim for heads in (model.num_attention_heads, model.num_key_value_heads))
        hidden, wide = model.hidden_size, model.intermediate_size
        return {
            "q_proj": (queries, hidden), "k_proj": (shared, hidden), "v_proj": (shared, hidden),
            "o_proj": (hidden, queries), "gate_proj": (wide, hidden), "up_proj": (wide, hidden),
            "down_proj": (hidden, wide),
        }  # fmt: skip

    def layer_shapes(self, model: ModelConfig) -> dict[str, tuple[int, ...]]:
        """What trains in one layer, by name, in the model's order: of each adapted projection m (DoRA), A and B."""
        sizes = self.sizes(model)
        shapes: dict[str, tuple[int, ...]] = {}
        for name in self.projections:
            outputs, inputs = sizes[name]
            module = f"{'self_attn' if name in ATTENTION else 'mlp'}.{name}"
            shapes |= {f"{module}.{MAGNITUDE}": (outputs,)} if self.dora else {}
            shapes |= {f"{module}.{DOWN}": (self.rank, inputs), f"{module}.{UP}": (outputs, self.rank)}
        return shapes

    def shapes(self, model: ModelConfig) -> dict[str, tuple[int, ...]]:
        """All that trains, by its whole name, in the model's order."""
        of_layer = self.layer_shapes(model).items()
        layers = range(model.num_hidden_layers)
        return {f"model.layers.{layer}.{name}": shape for layer in layers for name, shape in of_layer}

    def parameters(self, model: ModelConfig) -> int:
        """How many numbers train."""
        return model.num_hidden_layers * sum(prod(shape) for shape in self.layer_shapes(model).values())

    def identity(self) -> dict[str, Any]:
        """What makes a run with these adapters another run. The start counts by its content, wherever it lies."""
        return self.model_dump(mode="json", exclude={"from_"}, exclude_none=True)


def is_adapter(name: str) -> bool:
    """Whether a parameter, by its name, is of an adapter."""
    return name.endswith((f".{DOWN}", f".{UP}", f".{MAGNITUDE}"))


def flops_per_token(model: ModelConfig, lora: LoraConfig | None, sequence_length: int) -> int:
    """Floating-point operations that training on one token needs, as `ModelConfig.flops_per_token` counts them.

    A frozen matrix has no gradient of its own: it multiplies twice and not three times, 4 operations a number instead
    of 6. Adapters count in full; DoRA's norms and recomputed activations count nothing.
    """
    flops = model.flops_per_token(sequence_length)
    return flops if lora is None else flops - 2 * model.active_parameters() + 6 * lora.parameters(model)


def head_flops_per_token(model: ModelConfig, lora: LoraConfig | None) -> int:
    """The part of `flops_per_token` that the projection to logits has."""
    return (6 if lora is None else 4) * model.vocab_size * model.hidden_size


def trained_parameters(model: ModelConfig, lora: LoraConfig | None) -> int:
    """How many numbers the optimizer steps, but for what `train.freeze` names."""
    return model.parameters() if lora is None else lora.parameters(model)


def check_lora(lora: LoraConfig | None, model: ModelConfig, zero_stage: int, tensor: int, is_mup: bool) -> None:
    """Raise ValueError, naming key and way out, where adapters do not go together with the rest of a recipe."""
    if lora is None:
        return
    if model.experts is not None and (wrong := [name for name in lora.projections if name in FEED_FORWARD]):
        raise ValueError(
            f"lora.targets: found {', '.join(lora.targets)}; experts have no adapters ({', '.join(wrong)} are many "
            f"matrices there): lora.targets=[{', '.join(ATTENTION)}]"
        )
    if tensor > 1:
        raise ValueError(
            f"parallel.tensor: found {tensor} with lora; adapted projections are not cut over tensor ranks: "
            "parallel.tensor=1, and parallel.zero_stage=3 where the model does not fit"
        )
    if is_mup:
        raise ValueError("optimizer.mup: found it with lora; its rules are of weights that train: optimizer.mup=null")
    if lora.quantize and zero_stage == 3:
        raise ValueError(
            f"lora.quantize: found {lora.quantize} with parallel.zero_stage: 3, which cuts weights into parts that "
            "4-bit blocks do not survive: parallel.zero_stage=2 (the base takes half a byte a number on every rank)"
        )
