"""The recipe's `data` section: what is read, and how it is cut and mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from clapas.recipe.typed import Section

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Epochs = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=0.1, allow_inf_nan=False)]
"""Less would read the largest source alone."""


class DataConfig(Section):
    """Which tokens a run trains on.

    path: a folder that `clapas data build` made, or one of bare Megatron shards.
    sequence_length: tokens that one sample predicts.
    mixture: source -> weight, any positive numbers; their proportions hold exactly at every moment of the run, and each
        source begins anew when it is used up. Without one, the corpus file's weights; without those, all sources are
        one stream, each as large as it is.
    temperature: instead of a mixture, each source weighs as its tokens ^ (1 / temperature): 1 as large as it is, more
        for more even shares (0.3 as an exponent is 3.33).
    token_budgets: source -> tokens that it gives over the run; the others share what is left. With `stages`, theirs.
    max_epochs: how often a source may be read in the whole run; what it may not give, the others give by their weights.
    max_epochs_by_source: the same for sources by name, which comes first.
    document_mask: a token sees its own document only, positions begin anew with each document, and the first token of a
        document is not predicted (nothing of its own comes before it).
    packing: `stream` lays all documents end to end and cuts on a fixed grid; `best_fit` puts whole documents or
        examples together into samples, `none` gives each its own. By default best_fit for objectives that
        read examples, so not for language_modelling and distillation; both mask documents.
    too_long: what becomes of a document that is longer than a sample where they are packed; the run's start tells how
        many were. Of those cut, the ones of which nothing is left to learn are dropped.
    """

    also_called: ClassVar[dict[str, str]] = {
        "seq_length": "sequence_length",
        "seq_len": "sequence_length",
        "max_seq_length": "sequence_length",
        "block_size": "sequence_length",
        "weights": "mixture",
        "folder": "path",
        "data_path": "path",
        "reset_attention_mask": "document_mask",
        "alpha": "temperature",
        "epochs": "max_epochs",
        "budgets": "token_budgets",
    }

    path: Path
    sequence_length: PositiveInt
    mixture: Annotated[dict[str, Weight], Field(min_length=1)] | None = None
    temperature: Temperature | None = None
    token_budgets: Annotated[dict[str, PositiveInt], Field(min_length=1)] | None = None
    max_epochs: Epochs | None = None
    max_epochs_by_source: Annotated[dict[str, Epochs], Field(min_length=1)] | None = None
    document_mask: bool = False
    packing: Literal["stream", "best_fit", "none"] = "stream"
    too_long: Literal["drop", "truncate"] = "drop"

    @model_validator(mode="before")
    @classmethod
    def _packed_is_masked(cls, values: Any) -> Any:
        packed = isinstance(values, dict) and values.get("packing", "stream") != "stream"
        if packed and values.get("document_mask") is False:
            raise ValueError("document_mask: found false; documents that are packed whole do not see one another")
        return values | {"document_mask": True} if packed else values

    @model_validator(mode="after")
    def _one_kind_of_weights(self) -> DataConfig:
        refuse_both(self.mixture, self.temperature)
        return self


def refuse_both(mixture: object, temperature: object) -> None:
    """Raise ValueError where weights are given and also made of the tokens."""
    if mixture is not None and temperature is not None:
        raise ValueError("mixture and temperature: both given; a temperature makes the weights: set the other to null")
