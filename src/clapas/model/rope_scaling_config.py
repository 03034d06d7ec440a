"""The recipe's section on stretched rotary positions, for texts longer than the model first learned. No torch.

The names and meanings are those of Hugging Face's `rope_parameters`, but for `ntk`, which there is a larger base. The
arithmetic is in `clapas.model.rotary`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from clapas.recipe.typed import Section

Factor = Annotated[float, Field(ge=1.0)]


class LinearScaling(Section):
    """Position interpolation (Chen et al., 2023): every frequency is divided by the factor.

    rope_type: the kind of scaling; its other keys follow from it.
    factor: longest text over the longest that the model first learned.
    """

    rope_type: Literal["linear"]
    factor: Factor


class NtkScaling(Section):
    """NTK-aware (bloc97, 2023): a larger base, rope_theta * factor ^ (D / (D - 2)) for heads of D dimensions.

    The slowest frequency is divided by the factor, the fastest stays. Nothing else changes, so that an exported model
    has no scaling, but that base as its `rope_theta`.
    rope_type: the kind of scaling; its other keys follow from it.
    factor: longest text over the longest that the model first learned.
    """

    rope_type: Literal["ntk"]
    factor: Factor

    def theta(self, rope_theta: float, head_dim: int) -> float:
        """The larger base. head_dim: more than 2."""
        return rope_theta * self.factor ** (head_dim / (head_dim - 2))


class Llama3Scaling(Section):
    """Llama 3.1's: slow frequencies are divided, fast ones kept, those between blended (Grattafiori et al., 2024).

    factor: what slow frequencies are divided by.
    low_freq_factor: a frequency is slow under so many turns within the original length; Llama's: 1.
    high_freq_factor: a frequency is fast over so many turns within the original length; Llama's: 4.
    original_max_position_embeddings: the longest text that the model first learned, in tokens.
    """

    rope_type: Literal["llama3"]
    factor: Factor
    low_freq_factor: PositiveFloat
    high_freq_factor: PositiveFloat
    original_max_position_embeddings: PositiveInt

    @model_validator(mode="after")
    def _low_is_lower(self) -> Llama3Scaling:
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor: found {self.low_freq_factor:g}; must be under high_freq_factor, which is "
                f"{self.high_freq_factor:g}"
            )
        return self


class YarnScaling(Section):
    """YaRN (Peng et al., 2023): slow frequencies divided, fast ones kept, and attention sharpened.

    factor: what slow frequencies are divided by.
    original_max_position_embeddings: the longest text that the model first learned, in tokens.
    beta_fast: a frequency is fast over so many turns within the original length.
    beta_slow: a frequency is slow under so many turns within the original length.
    attention_factor: cosines and sines are multiplied by it; by default 0.1 ln(factor) + 1.
    truncate: the border dimensions are rounded to whole ones.
    """

    rope_type: Literal["yarn"]
    factor: Factor
    original_max_position_embeddings: PositiveInt
    beta_fast: PositiveFloat = 32.0
    beta_slow: PositiveFloat = 1.0
    attention_factor: PositiveFloat | None = None
    truncate: bool = True

    @model_validator(mode="after")
    def _slow_is_slower(self) -> YarnScaling:
        if self.beta_slow >= self.beta_fast:
            raise ValueError(
                f"beta_slow: found {self.beta_slow:g}; must be under beta_fast, which is {self.beta_fast:g}"
            )
        return self


StockScaling = Annotated[LinearScaling | Llama3Scaling | YarnScaling, Field(discriminator="rope_type")]
"""What stands in Hugging Face's `rope_parameters` under the same names."""

RopeScaling = Annotated[LinearScaling | NtkScaling | Llama3Scaling | YarnScaling, Field(discriminator="rope_type")]


def check_scaling(scaling: RopeScaling | None, positions: int) -> None:
    """Raise ValueError where readers of the exported model would disagree on how positions are stretched.

    positions: max_position_embeddings. With YaRN, transformers before 5 take its ratio to the original length for the
    factor, whatever the factor says; transformers 5, vLLM and llama.cpp take the factor.
    """
    if not isinstance(scaling, YarnScaling):
        return
    longest = scaling.factor * scaling.original_max_position_embeddings
    if longest != positions:
        raise ValueError(
            f"model.max_position_embeddings: found {positions}; with yarn it must be factor x "
            f"original_max_position_embeddings, {longest:.0f}, for some tools compute with their ratio and others with "
            f"the factor: model.max_position_embeddings={longest:.0f}, or another factor"
        )
