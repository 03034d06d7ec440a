"""The recipe's `objective`: what a run minimises, by name, with its own options. No torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from clapas.recipe.typed import Section


class LanguageModelling(Section):
    """The cross-entropy of the next token: pretraining, continued pretraining."""

    name: Literal["language_modelling"] = "language_modelling"


class Sft(Section):
    """Supervised fine-tuning: the cross-entropy of the assistant's tokens alone. Reads what `clapas data chat` made."""

    name: Literal["sft"]


Beta = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Dpo(Section):
    """Direct preference optimisation on pairs: what `clapas data chat --kind pairs` made.

    beta: how strongly the policy is held to the reference, which is the policy as it begins.
    label_smoothing: how often a pair is thought to be the wrong way round.
    """

    name: Literal["dpo"]
    beta: Beta = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


class Ipo(Section):
    """Identity preference optimisation on pairs. beta: the paper's tau."""

    also_called: ClassVar[dict[str, str]] = {"tau": "beta"}

    name: Literal["ipo"]
    beta: Beta = 0.1


class Kto(Section):
    """Kahneman-Tversky optimisation on answers that are good or bad by themselves (`--kind labelled`).

    beta: as for dpo. desirable_weight, undesirable_weight: of the losses of good and bad answers; their counts times
    their weights should be about as large.
    """

    name: Literal["kto"]
    beta: Beta = 0.1
    desirable_weight: Weight = 1.0
    undesirable_weight: Weight = 1.0


class Orpo(Section):
    """Odds-ratio preference optimisation on pairs, without a reference. beta: the paper's lambda."""

    also_called: ClassVar[dict[str, str]] = {"lambda": "beta"}

    name: Literal["orpo"]
    beta: Beta = 0.1


ObjectiveConfig = Annotated[LanguageModelling | Sft | Dpo | Ipo | Kto | Orpo, Field(discriminator="name")]
