"""The recipe's `objective`: what a run minimises, by name, with its own options. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from clapas.recipe.typed import Section


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


ObjectiveConfig = Annotated[LanguageModelling | Sft | Distillation, Field(discriminator="name")]
