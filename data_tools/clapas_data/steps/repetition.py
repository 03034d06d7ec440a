"""Lines and paragraphs that repeat others, taken out of a document; `gopher.repetition` drops whole documents."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.edit import without
from clapas_data.text.repeats import repeated
from clapas_data.text.spans import Spans

Which = Literal["consecutive", "all", "none"]


class Repetition(Step):
    """Take out repeated lines and paragraphs, but for the first of them, and count them. Case makes no difference.

    lines, paragraphs: `consecutive`, those that repeat the one right before; `all`, those that stand anywhere earlier
    in the document; or `none`. A paragraph is what stands between empty lines.
    min_characters: shorter ones stay: the same cell may well follow itself in a table.
    """

    edits: ClassVar[bool] = True

    step: Literal["repetition"] = "repetition"
    lines: Which = "consecutive"
    paragraphs: Which = "consecutive"
    min_characters: Annotated[int, Field(ge=1)] = 15

    def __call__(self, batch: TextBatch) -> Outcome:
        """Texts without what they repeat."""
        counts: dict[str, int] = {}
        texts = None
        order: tuple[tuple[str, Which], ...] = (("paragraphs", self.paragraphs), ("lines", self.lines))
        for name, which in order:
            spans: Spans = getattr(batch, name)
            again = _again(spans, which) & (spans.lengths >= self.min_characters)
            if not again.any():
                continue
            counts[name] = int(again.sum())
            texts = without(batch, spans, again)
            batch = batch.with_texts(texts or batch.texts)
        return Outcome(texts=texts, counts=counts)


def _again(spans: Spans, which: Which) -> np.ndarray:
    """Which pieces say what was said: bool[pieces]."""
    if which == "all":
        return repeated(spans)
    again = np.zeros(len(spans.hashes), bool)
    if which == "consecutive":
        again[1:] = (spans.hashes[1:] == spans.hashes[:-1]) & (spans.owners[1:] == spans.owners[:-1])
    return again
