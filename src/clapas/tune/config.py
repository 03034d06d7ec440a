"""The recipe's `objective`: what a run minimises, by name, with its own options. No torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from clapas.recipe.typed import Section
from clapas.tune.grpo.config import Grpo


class ObjectiveSection(Section):
    """What every objective's section can say."""

    def identity(self) -> dict[str, Any]:
        """What of it makes a run this run."""
        return self.model_dump(mode="json")


class LanguageModelling(ObjectiveSection):
    """The cross-entropy of the next token: pretraining, continued pretraining."""

    name: Literal["language_modelling"] = "language_modelling"


class Sft(ObjectiveSection):
    """Supervised fine-tuning: the cross-entropy of the assistant's tokens alone. Reads what `clapas data chat` made."""

    name: Literal["sft"]


ObjectiveConfig = Annotated[LanguageModelling | Sft | Grpo, Field(discriminator="name")]
