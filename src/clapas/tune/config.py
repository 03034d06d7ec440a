"""The recipe's `objective`: what a run minimises, by name, with its own options. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from clapas.tune.grpo.config import Grpo
from clapas.tune.section import ObjectiveSection


class LanguageModelling(ObjectiveSection):
    """The cross-entropy of the next token: pretraining, continued pretraining."""

    name: Literal["language_modelling"] = "language_modelling"


class Sft(ObjectiveSection):
    """Supervised fine-tuning: the cross-entropy of the assistant's tokens alone. Reads what `clapas data chat` made.

    neftune_alpha: strength of the noise on the embeddings while training (NEFTune), 5 to 15 where it is used; by
        default there is none.
    """

    name: Literal["sft"]
    neftune_alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def identity(self) -> dict[str, Any]:
        """The noise only where there is any."""
        return self.model_dump(mode="json", exclude_none=True)


class Distillation(ObjectiveSection):
    """A student learns what a teacher says of every next token, and the token itself (docs/distillation.md).

    teacher: a model with the data's tokenizer (a Hugging Face folder, a run, a checkpoint), which every rank then
        holds; or the folder in which `clapas distil` stored what it says.
    seal: SHA-256 of the teacher's weights: it belongs to the identity of the run, its folder does not. Found when the
        run first starts; where the teacher is another one later, the start is refused.
    kind: forward_kl, KL(teacher || student), covers all that the teacher says (Hinton et al., 2015); reverse_kl,
        KL(student || teacher), keeps to its main modes (Gu et al., 2023); jsd, their mean against the mixture of both
        (Agarwal et al., 2023).
    temperature: both sides' logits are divided by it, and the divergence multiplied by its square.
    top_k: tokens of which the teacher's probability is known; all others are one event, with what is left.
    alpha: weight of the divergence; the cross-entropy of the data's own tokens has 1 - alpha.
    """

    also_called: ClassVar[dict[str, str]] = {"kd_ratio": "alpha", "teacher_model": "teacher", "k": "top_k"}

    name: Literal["distillation"]
    teacher: Path
    seal: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    kind: Literal["forward_kl", "reverse_kl", "jsd"] = "forward_kl"
    temperature: PositiveFloat = 1.0
    top_k: PositiveInt = 64
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.5

    def identity(self) -> dict[str, Any]:
        """All but where the teacher lies, and whether it is stored: what it says is the same."""
        return self.model_dump(mode="json", exclude={"teacher"})


Beta = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _WithReference(ObjectiveSection):
    forward_before: ClassVar[int] = 1


class Dpo(_WithReference):
    """Direct preference optimisation on pairs: what `clapas data chat --kind pairs` made.

    beta: how strongly the policy is held to the reference, which is the policy as it begins.
    label_smoothing: how often a pair is thought to be the wrong way round.
    """

    name: Literal["dpo"]
    beta: Beta = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


class Ipo(_WithReference):
    """Identity preference optimisation on pairs. beta: the paper's tau."""

    also_called: ClassVar[dict[str, str]] = {"tau": "beta"}

    name: Literal["ipo"]
    beta: Beta = 0.1


class Kto(_WithReference):
    """Kahneman-Tversky optimisation on answers that are good or bad by themselves (`--kind labelled`).

    beta: as for dpo. desirable_weight, undesirable_weight: of the losses of good and bad answers; their counts times
    their weights should be about as large.
    """

    forward_before: ClassVar[int] = 2  # answers, and mismatched ones
    forward_beside: ClassVar[int] = 1

    name: Literal["kto"]
    beta: Beta = 0.1
    desirable_weight: Weight = 1.0
    undesirable_weight: Weight = 1.0


class Orpo(ObjectiveSection):
    """Odds-ratio preference optimisation on pairs, without a reference. beta: the paper's lambda."""

    also_called: ClassVar[dict[str, str]] = {"lambda": "beta"}

    name: Literal["orpo"]
    beta: Beta = 0.1


ObjectiveConfig = Annotated[
    LanguageModelling | Sft | Distillation | Dpo | Ipo | Kto | Orpo | Grpo, Field(discriminator="name")
]

OF_WHOLE_DOCUMENTS = ("dpo", "ipo", "kto", "orpo")


def check_objective(name: str, sequence: int) -> None:
    """Whether the ranks can share what the objective reads. sequence: `parallel.sequence`. Raises ValueError."""
    if name in OF_WHOLE_DOCUMENTS and sequence > 1:
        raise ValueError(
            f"parallel.sequence: found {sequence} with objective {name}, whose loss is of whole documents, of which "
            "each rank would hold a part; must be 1"
        )
