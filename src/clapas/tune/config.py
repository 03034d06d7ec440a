"""The recipe's `objective`: what a run minimises, by name, with its own options. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from clapas.recipe.typed import Section


class LanguageModelling(Section):
    """The cross-entropy of the next token: pretraining, continued pretraining."""

    name: Literal["language_modelling"] = "language_modelling"


class Sft(Section):
    """Supervised fine-tuning: the cross-entropy of the assistant's tokens alone. Reads what `clapas data chat` made."""

    name: Literal["sft"]


ObjectiveConfig = Annotated[LanguageModelling | Sft, Field(discriminator="name")]
