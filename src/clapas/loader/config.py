"""The recipe's `data` section: what is read, and how it is cut and mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from clapas.recipe.typed import Section

Weight = Annotated[float, Field(gt=0)]


class DataConfig(Section):
    """Which tokens a run trains on.

    path: a folder that `clapas data build` made, or one of bare Megatron shards.
    sequence_length: tokens that one sample predicts.
    mixture: source -> weight, any positive numbers; their proportions hold exactly at every moment of the run, and each
        source begins anew when it is used up. Without one, the corpus file's weights; without those, all sources are
        one stream, each as large as it is.
    document_mask: a token sees its own document only, positions begin anew with each document, and the first token of a
        document is not predicted (nothing of its own comes before it).
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
    }

    path: Path
    sequence_length: PositiveInt
    mixture: Annotated[dict[str, Weight], Field(min_length=1)] | None = None
    document_mask: bool = False
