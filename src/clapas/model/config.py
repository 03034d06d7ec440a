"""The recipe's sections on the model: what it is, under Hugging Face's names, and how it is computed.

No torch here: `clapas plan` and a recipe's checks run on a login node.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt, model_validator

from clapas.recipe.typed import Section


class ModelConfig(Section):
    """A Llama decoder.

    num_key_value_heads: key-value heads that the query heads share in equal groups; by default one each.
    head_dim: by default hidden_size / num_attention_heads; even, for the rotary positions turn pairs.
    rope_theta: base of the rotary frequencies (Su et al., 2021).
    initializer_range: standard deviation of the initial weights; projections into the residual stream get it divided
    by sqrt(2 * num_hidden_layers), see `clapas.model.init`.
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
    }

    architecture: Literal["llama"] = "llama"
    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt = 0  # 0 is never read: see _heads_by_default
    intermediate_size: PositiveInt
    vocab_size: PositiveInt
    max_position_embeddings: PositiveInt
    rope_theta: PositiveFloat = 10_000.0
    rms_norm_eps: PositiveFloat = 1e-5
    tie_word_embeddings: bool = False
    head_dim: PositiveInt = 0  # 0 is never read: see _heads_by_default
    initializer_range: PositiveFloat = 0.02

    @model_validator(mode="before")
    @classmethod
    def _heads_by_default(cls, values: Any) -> Any:
        """Make the two derived dimensions explicit, so that a resolved recipe says them."""
        hidden, heads = (values.get(key) for key in ("hidden_size", "num_attention_heads"))
        if not (isinstance(hidden, int) and isinstance(heads, int) and hidden >= heads > 0):
            return values  # the fields' own checks say what is wrong
        derived = {"num_key_value_heads": heads, "head_dim": hidden // heads}
        return values | {key: value for key, value in derived.items() if values.get(key) is None}

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelConfig:
        hidden, heads, shared = self.hidden_size, self.num_attention_heads, self.num_key_value_heads
        if hidden % heads:  # transformers refuses such a config.json even where head_dim is given
            raise ValueError(
                f"num_attention_heads: found {heads}; must divide hidden_size, which is {hidden}: "
                f"{_divisors(hidden, near=heads)}"
            )
        if heads % shared:
            raise ValueError(
                f"num_key_value_heads: found {shared}; must divide num_attention_heads, which is {heads}: "
                f"{_divisors(heads, near=shared)}"
            )
        if self.head_dim % 2:
            raise ValueError(
                f"head_dim: found {self.head_dim} (by default hidden_size / num_attention_heads); must be even, "
                "for rotary positions turn pairs"
            )
        return self

    def parameters(self) -> int:
        """How many numbers the model learns; tied embeddings count once."""
        hidden, heads = self.hidden_size, self.num_attention_heads + self.num_key_value_heads
        attention = 2 * hidden * heads * self.head_dim  # query and output, key and value
        layer = attention + 3 * hidden * self.intermediate_size + 2 * hidden
        embeddings = self.vocab_size * hidden * (1 if self.tie_word_embeddings else 2)
        return self.num_hidden_layers * layer + hidden + embeddings

    def flops_per_token(self, sequence_length: int) -> int:
        """Floating-point operations that training on one token takes, forward and backward.

        The convention of PaLM (Chowdhery et al., 2022, appendix B): 6 N + 12 L H Q T, in which N are the parameters
        that multiply (the input embedding is a look-up and does not; a tied one counts once, as the head), L layers,
        H heads, Q head_dim, T `sequence_length`. A multiplication and an addition are two operations; attention counts
        in full, as if it were not causal; recomputed activations count nothing.
        """
        multiplied = self.parameters() - (0 if self.tie_word_embeddings else self.vocab_size * self.hidden_size)
        attention = 12 * self.num_hidden_layers * self.num_attention_heads * self.head_dim * sequence_length
        return 6 * multiplied + attention


class ComputeConfig(Section):
    """How the model is computed: changes memory and speed, and no result.

    activation_checkpointing: what is computed again in the backward pass instead of held: nothing, what is cheap
    between the matrix products (selective), or whole layers (full).
    """

    also_called: ClassVar[dict[str, str]] = {
        "gradient_checkpointing": "activation_checkpointing",
        "recompute": "activation_checkpointing",
    }

    activation_checkpointing: Literal["none", "selective", "full"] = "none"


def _divisors(number: int, near: int, shown: int = 5) -> str:
    """The divisors of `number` that lie nearest to `near`, for a message: `2, 3, 4, 6 or 8`."""
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    nearest = sorted(sorted(divisors, key=lambda n: abs(n - near))[:shown])
    *first, last = map(str, nearest)
    return f"{', '.join(first)} or {last}" if first else last
