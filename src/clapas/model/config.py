"""The recipe's sections on the model: what it is, under Hugging Face's names, and how it is computed.

No torch here: `clapas plan` and a recipe's checks run on a login node.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from clapas.model.rope_scaling_config import NtkScaling, RopeScaling
from clapas.recipe.typed import Section

Architecture = Literal["llama", "qwen2", "qwen3", "qwen3_moe"]
EXPERT_KEYS = (
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "norm_topk_prob",
    "router_aux_loss_coef",
)


FROM_KEYS = ("from_", "from_seal", "other_tokenizer")
"""Fields that say where the first weights come from, and nothing of what the model is."""


@dataclass(frozen=True, slots=True)
class Experts:
    """The experts that stand in for a layer's feed-forward: how many, how many a token uses, how wide each is.

    normalised: a token's weights of its experts sum to 1. balance: weight of the term that keeps their loads even.
    """

    count: int
    per_token: int
    width: int
    normalised: bool
    balance: float


class ModelConfig(Section):
    """A decoder that stock tools load: Llama, Qwen2, Qwen3, or Qwen3 with experts.

    from: a model to begin with: a Hugging Face folder, a run (its newest checkpoint) or a checkpoint. All keys below
    come from there; beside it may stand those of longer texts (max_position_embeddings, rope_theta, rope_scaling) and a
    larger vocab_size.
    from_seal: SHA-256 of those weights, filled in when the run begins, for a resume to know them by.
    other_tokenizer: train on shards of another tokenizer than that model's, whose ids then mean other tokens.
    architecture: llama; qwen2 (queries, keys and values have biases); qwen3 (queries and keys are normalised, head by
    head); qwen3_moe (qwen3 with experts).
    num_key_value_heads: key-value heads that the query heads share in equal groups; by default one each.
    intermediate_size: width of the feed-forward layer; with experts by default the width that a token uses.
    head_dim: by default hidden_size / num_attention_heads; even, for the rotary positions turn pairs.
    rope_theta: base of the rotary frequencies (Su et al., 2021).
    rope_scaling: positions stretched for longer texts; by default not.
    initializer_range: standard deviation of the initial weights; projections into the residual stream get it divided
    by sqrt(2 * num_hidden_layers), see `clapas.model.init`.
    num_experts: experts of each layer, all of them stored, of which a token uses a few (qwen3_moe, as what follows).
    num_experts_per_tok: experts that a token uses.
    moe_intermediate_size: width of one expert.
    norm_topk_prob: whether the weights of a token's experts are made to sum to 1; by default they are.
    router_aux_loss_coef: weight of the term that keeps the experts' loads even, by default 0.001; 0 for none.
    """

    also_called: ClassVar[dict[str, str]] = {
        "type": "architecture",
        "model_type": "architecture",
        "n_layer": "num_hidden_layers",
        "n_layers": "num_hidden_layers",
        "num_layers": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_heads": "num_attention_heads",
        "num_heads": "num_attention_heads",
        "n_kv_heads": "num_key_value_heads",
        "num_kv_heads": "num_key_value_heads",
        "n_embd": "hidden_size",
        "d_model": "hidden_size",
        "dim": "hidden_size",
        "ffn_hidden_size": "intermediate_size",
        "d_ff": "intermediate_size",
        "norm_eps": "rms_norm_eps",
        "block_size": "max_position_embeddings",
        "max_seq_len": "max_position_embeddings",
        "tie_embeddings": "tie_word_embeddings",
        "tied": "tie_word_embeddings",
        "rope_parameters": "rope_scaling",
        "num_local_experts": "num_experts",
        "top_k": "num_experts_per_tok",
        "moe_aux_loss_coef": "router_aux_loss_coef",
    }

    from_: Path | None = Field(default=None, alias="from")
    from_seal: str | None = None
    other_tokenizer: bool = False
    architecture: Architecture = "llama"
    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt = 0  # 0 is never read: see _heads_by_default
    intermediate_size: PositiveInt
    vocab_size: PositiveInt
    max_position_embeddings: PositiveInt
    rope_theta: PositiveFloat = 10_000.0
    rope_scaling: RopeScaling | None = None
    rms_norm_eps: PositiveFloat = 1e-5
    tie_word_embeddings: bool = False
    head_dim: PositiveInt = 0  # 0 is never read: see _heads_by_default
    initializer_range: PositiveFloat = 0.02
    num_experts: PositiveInt | None = None
    num_experts_per_tok: PositiveInt | None = None
    moe_intermediate_size: PositiveInt | None = None
    norm_topk_prob: bool | None = None
    router_aux_loss_coef: NonNegativeFloat | None = None

    @model_validator(mode="before")
    @classmethod
    def _explicit_defaults(cls, values: Any) -> Any:
        """Make what follows from other keys explicit, so that a resolved recipe says it."""
        derived: dict[str, Any] = {}
        hidden, heads = (values.get(key) for key in ("hidden_size", "num_attention_heads"))
        if isinstance(hidden, int) and isinstance(heads, int) and hidden >= heads > 0:
            derived = {"num_key_value_heads": heads, "head_dim": hidden // heads}
        if values.get("architecture") == "qwen3_moe":
            derived |= {"norm_topk_prob": True, "router_aux_loss_coef": 0.001}
            width, used = (values.get(key) for key in ("moe_intermediate_size", "num_experts_per_tok"))
            if isinstance(width, int) and isinstance(used, int):
                derived["intermediate_size"] = width * used
        # where a value is of the wrong kind, the fields' own checks say so
        return values | {key: value for key, value in derived.items() if values.get(key) is None}

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelConfig:
        hidden, heads, shared = self.hidden_size, self.num_attention_heads, self.num_key_value_heads
        if hidden % heads and not self.head_norms:  # transformers refuses it even where head_dim is given
            raise ValueError(
                f"num_attention_heads: found {heads}; must divide hidden_size, which is {hidden}: "
                f"{_divisors(hidden, near=heads)}"
            )
        if heads % shared:
            raise ValueError(
                f"num_key_value_heads: found {shared}; must divide num_attention_heads, which is {heads}: "
                f"{_divisors(heads, near=shared)}"
            )
        if self.head_dim == 2 and isinstance(self.rope_scaling, NtkScaling):
            raise ValueError("rope_scaling: ntk needs a head_dim of more than 2: its base grows by D / (D - 2)")
        if self.head_dim % 2:
            raise ValueError(
                f"head_dim: found {self.head_dim} (by default hidden_size / num_attention_heads); must be even, "
                "for rotary positions turn pairs"
            )
        return self

    @model_validator(mode="after")
    def _experts_belong_together(self) -> ModelConfig:
        for key in EXPERT_KEYS:
            if (value := getattr(self, key)) is not None and self.architecture != "qwen3_moe":
                raise ValueError(
                    f"{key}: found {value}; belongs to architecture: qwen3_moe, and this is {self.architecture}"
                )
            if value is None and self.architecture == "qwen3_moe":
                raise ValueError(f"architecture: qwen3_moe needs {key}, which is missing")
        if self.experts and self.experts.per_token > self.experts.count:
            raise ValueError(
                f"num_experts_per_tok: found {self.experts.per_token}; at most num_experts, which is "
                f"{self.experts.count}"
            )
        return self

    @model_validator(mode="after")
    def _belongs_to_a_source(self) -> ModelConfig:
        for key in ("from_seal", "other_tokenizer"):
            if getattr(self, key) and self.from_ is None:
                raise ValueError(f"{key}: belongs to model.from, which is missing")
        return self

    def facts(self) -> dict[str, Any]:
        """What the model is, as JSON, wherever its first weights come from."""
        return self.model_dump(mode="json", exclude=set(FROM_KEYS))

    @property
    def attention_bias(self) -> bool:
        """Whether queries, keys and values have biases."""
        return self.architecture == "qwen2"

    @property
    def head_norms(self) -> bool:
        """Whether queries and keys are normalised, head by head."""
        return self.architecture in ("qwen3", "qwen3_moe")

    @property
    def experts(self) -> Experts | None:
        """The experts of each layer; None where a layer has one feed-forward layer for all tokens."""
        if self.num_experts is None or self.num_experts_per_tok is None or self.moe_intermediate_size is None:
            return None
        return Experts(
            self.num_experts,
            self.num_experts_per_tok,
            self.moe_intermediate_size,
            bool(self.norm_topk_prob),
            self.router_aux_loss_coef or 0.0,
        )

    def parameters(self) -> int:
        """How many numbers the model learns; tied embeddings count once."""
        experts = self.experts
        return self._parameters(
            self.intermediate_size if experts is None else experts.count * experts.width,
            embeddings=1 if self.tie_word_embeddings else 2,
        )

    def active_parameters(self) -> int:
        """The parameters that multiply for one token: without unused experts and without the input embedding's rows,
        which are looked up; a tied embedding counts once, as the head."""
        experts = self.experts
        return self._parameters(
            self.intermediate_size if experts is None else experts.per_token * experts.width, embeddings=1
        )

    def _parameters(self, feed_forward: int, embeddings: int) -> int:
        hidden, heads = self.hidden_size, self.num_attention_heads + self.num_key_value_heads
        attention = 2 * hidden * heads * self.head_dim  # query and output, key and value
        norms = 2 * hidden + (2 * self.head_dim if self.head_norms else 0)
        biases = (heads + self.num_key_value_heads) * self.head_dim if self.attention_bias else 0
        router = hidden * self.experts.count if self.experts else 0
        layer = attention + 3 * hidden * feed_forward + router + norms + biases
        return self.num_hidden_layers * layer + hidden + embeddings * self.vocab_size * hidden

    def flops_per_token(self, sequence_length: int) -> int:
        """Floating-point operations that training on one token takes, forward and backward.

        The convention of PaLM (Chowdhery et al., 2022, appendix B): 6 N + 12 L H Q T, in which N are the parameters
        that multiply (`active_parameters`), L layers, H heads, Q head_dim, T `sequence_length`. A multiplication and an
        addition are two operations; attention counts in full, as if it were not causal; recomputed activations count
        nothing.
        """
        attention = 12 * self.num_hidden_layers * self.num_attention_heads * self.head_dim * sequence_length
        return 6 * self.active_parameters() + attention


class ComputeConfig(Section):
    """How the model is computed: changes memory and speed, and no result.

    activation_checkpointing: what is computed again in the backward pass instead of held: nothing, what is cheap
    between the matrix products (selective), or whole layers (full).
    tiled_mlp: tokens that the feed-forward layer computes at a time, and again in the backward pass: for long texts,
    where its activations are the largest left. By default all at once.
    compile: layers are compiled when training begins (torch.compile), which takes up to a minute; by default on GPUs,
    but not at ZeRO-3, which gathers parameters between the operations of a layer.
    kernels: fused kernels where the device has them (auto), or plain PyTorch everywhere (reference): to find out
    whether a kernel is to blame. On a CPU both are the same.
    """

    also_called: ClassVar[dict[str, str]] = {
        "gradient_checkpointing": "activation_checkpointing",
        "recompute": "activation_checkpointing",
        "torch_compile": "compile",
    }

    activation_checkpointing: Literal["none", "selective", "full"] = "none"
    tiled_mlp: PositiveInt | None = None
    compile: bool | None = None
    kernels: Literal["auto", "reference"] = "auto"

    def on(self, device_type: str, zero_stage: int) -> ComputeConfig:
        """This section with `compile` said, where it was left open."""
        chosen = device_type == "cuda" and zero_stage < 3 if self.compile is None else self.compile
        return self.model_copy(update={"compile": chosen})

    @model_validator(mode="after")
    def _tiles_are_not_held(self) -> ComputeConfig:
        if self.tiled_mlp is not None and self.activation_checkpointing == "selective":
            raise ValueError(
                f"tiled_mlp: found {self.tiled_mlp} with activation_checkpointing: selective, which would hold the "
                "very products that tiles compute again; use none or full"
            )
        return self


def check_compute(compute: ComputeConfig, model: ModelConfig, zero_stage: int) -> None:
    """Raise ValueError where a model cannot be computed so."""
    if compute.compile and zero_stage == 3:
        raise ValueError(
            "compute.compile: found true with parallel.zero_stage: 3, whose hooks around every module the compiler "
            "cannot cross; leave it out, or use parallel.zero_stage=2"
        )
    if compute.tiled_mlp is not None and model.experts is not None:
        raise ValueError(
            f"compute.tiled_mlp: found {compute.tiled_mlp}; a layer of experts is not cut, for their load is balanced "
            "over whole samples: leave it out, or use compute.activation_checkpointing=full"
        )


def _divisors(number: int, near: int, shown: int = 5) -> str:
    """The divisors of `number` that lie nearest to `near`, for a message: `2, 3, 4, 6 or 8`."""
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    nearest = sorted(sorted(divisors, key=lambda n: abs(n - near))[:shown])
    *first, last = map(str, nearest)
    return f"{', '.join(first)} or {last}" if first else last
