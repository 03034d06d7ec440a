"""A model's sizes as the planner needs them: of a recipe, or of somebody else's run.

Parameters are listed as DeepSpeed partitions them: in the model's order, and by the group of the optimizer that steps
them (`clapas.train.optimizers.groups`: what decays and what does not).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe

Group = Literal["decayed", "plain"]


class Parameter(NamedTuple):
    """One parameter. elements: of one tensor rank. group: of the optimizer."""

    elements: int
    group: Group


@dataclass(frozen=True)
class Adapters:
    """Low-rank adapters on a frozen model (`model.lora_config`): what trains in its place.

    projections: those that have one, by Hugging Face's names, with outputs and inputs of each. dora: each output has a
    magnitude too. in_4_bits: the adapted projections are held so.
    """

    rank: int
    projections: dict[str, tuple[int, int]]
    dora: bool = False
    in_4_bits: bool = False

    @property
    def of_layer(self) -> list[Parameter]:
        """What trains in one layer, in the model's order."""
        found: list[Parameter] = []
        for outputs, inputs in self.projections.values():
            found += [Parameter(outputs, "plain")] if self.dora else []
            found += [Parameter(self.rank * inputs, "decayed"), Parameter(outputs * self.rank, "decayed")]
        return found

    @property
    def elements(self) -> int:
        """How many numbers train in one layer."""
        return sum(parameter.elements for parameter in self.of_layer)

    @property
    def adapted(self) -> int:
        """Elements of one layer's frozen matrices that have an adapter."""
        return sum(outputs * inputs for outputs, inputs in self.projections.values())


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder, by Hugging Face's names.

    gated: a feed-forward layer of three matrices (SwiGLU), not two. tied: one table for embedding and head.
    head_norms: queries and keys are normalised. attention_bias: queries, keys and values have biases.
    positions: rows of a learned table of positions; 0: rotary, none.
    experts: stored in each layer, of which a token uses experts_per_token, each expert_size wide; 0: none.
    adapters: what trains, where the model itself is frozen.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    gated: bool = True
    tied: bool = False
    head_norms: bool = False
    attention_bias: bool = False
    positions: int = 0
    experts: int = 0
    experts_per_token: int = 0
    expert_size: int = 0

    adapters: Adapters | None = None

    @property
    def query_size(self) -> int:
        """All query heads of a token."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_size(self) -> int:
        """All key heads of a token."""
        return self.num_key_value_heads * self.head_dim

    @property
    def active_width(self) -> int:
        """The feed-forward width that one token uses."""
        return self.experts_per_token * self.expert_size if self.experts else self.intermediate_size

    @property
    def layer_matrix(self) -> int:
        """Elements of one layer's matrices that multiply for one token, the router's included."""
        attention = 2 * self.hidden_size * (self.query_size + self.key_size)
        feed_forward = (3 if self.gated else 2) * self.hidden_size * self.active_width
        return attention + feed_forward + self.hidden_size * self.experts

    @property
    def head_matrix(self) -> int:
        """Elements of the head."""
        return self.hidden_size * self.vocab_size

    def parameters(self, tensor: int = 1) -> list[Parameter]:
        """All parameters in the model's order. tensor: ranks that share the layers' matrices."""
        hidden, table = self.hidden_size, self.vocab_size * self.hidden_size
        found = [Parameter(table, "decayed" if self.tied else "plain")]
        if self.positions:
            found.append(Parameter(self.positions * hidden, "plain"))
        for _ in range(self.num_hidden_layers):
            found += self._layer(tensor)
        found.append(Parameter(hidden, "plain"))
        if not self.tied:
            found.append(Parameter(table, "decayed"))
        return found

    def _layer(self, tensor: int) -> list[Parameter]:
        hidden, query, key = self.hidden_size, self.query_size // tensor, self.key_size // tensor
        norm = Parameter(hidden, "plain")
        attention: list[Parameter] = []
        for size in (query, key, key):
            attention.append(Parameter(size * hidden, "decayed"))
            if self.attention_bias:
                attention.append(Parameter(size, "plain"))
        attention.append(Parameter(query * hidden, "decayed"))
        head_norms = [Parameter(self.head_dim, "plain")] * 2 if self.head_norms else []
        matrices = 3 if self.gated else 2
        if self.experts:
            feed_forward = [self.experts * hidden, *[self.experts * self.expert_size * hidden] * matrices]
        else:
            feed_forward = [self.intermediate_size // tensor * hidden] * matrices
        return [
            norm,
            *attention,
            *head_norms,
            norm,
            *(Parameter(elements, "decayed") for elements in feed_forward),
        ]

    @cached_property
    def size(self) -> int:
        """All elements of the whole model."""
        return sum(parameter.elements for parameter in self.parameters())

    def trained(self, tensor: int = 1) -> list[Parameter]:
        """The parameters that train, in the model's order; `parameters` where nothing is frozen."""
        return self.parameters(tensor) if self.adapters is None else self.adapters.of_layer * self.num_hidden_layers

    @cached_property
    def trained_size(self) -> int:
        """All elements that train."""
        return sum(parameter.elements for parameter in self.trained())

    def flops_per_token(self, sequence_length: int) -> int:
        """What training on one token takes, by PaLM's convention (`ModelConfig.flops_per_token`); with adapters as
        `model.lora_config.flops_per_token` has it."""
        active = self.num_hidden_layers * self.layer_matrix + self.head_matrix
        norms = self.num_hidden_layers * (2 * self.hidden_size + (2 * self.head_dim if self.head_norms else 0))
        biases = self.num_hidden_layers * (self.query_size + 2 * self.key_size) if self.attention_bias else 0
        attention = 12 * self.num_hidden_layers * self.query_size * sequence_length
        multiply = active + norms + biases + self.hidden_size
        if self.adapters is not None:
            return 4 * multiply + 6 * self.trained_size + attention
        return 6 * multiply + attention


def shape_of(recipe: Recipe) -> Shape:
    """The shape of a recipe's model."""
    model, lora = recipe.model, recipe.lora
    adapters = None
    if lora is not None:
        sizes = lora.sizes(model)
        adapters = Adapters(
            lora.rank, {name: sizes[name] for name in lora.projections}, lora.dora, lora.quantize is not None
        )
    experts = model.experts
    return Shape(
        hidden_size=model.hidden_size,
        num_hidden_layers=model.num_hidden_layers,
        num_attention_heads=model.num_attention_heads,
        num_key_value_heads=model.num_key_value_heads,
        head_dim=model.head_dim,
        intermediate_size=model.intermediate_size,
        vocab_size=model.vocab_size,
        tied=model.tie_word_embeddings,
        head_norms=model.head_norms,
        attention_bias=model.attention_bias,
        experts=experts.count if experts else 0,
        experts_per_token=experts.per_token if experts else 0,
        expert_size=experts.width if experts else 0,
        adapters=adapters,
    )
