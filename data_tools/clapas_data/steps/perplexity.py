"""How far a text is from a reference, in perplexity: head, middle and tail, after CCNet (Wenzek et al., 2020).

The reference is whatever the team calls good French: an n-gram model is trained on one of the corpus's sources
(`clapas data perplexity`), and its file says the perplexities of the documents that it was calibrated on. A low
perplexity says that a text is like the reference, not that it is good; by default nothing is dropped.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from clapas_data.listed import absolute, content_of, signature
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.ngram_model import NgramModel, read_model

BUCKETS = ("head", "middle", "tail")
Bucket = Literal["head", "middle", "tail"]
Share = Annotated[float, Field(gt=0, lt=1)]


class Perplexity(Step):
    """Score documents by an n-gram model, and drop those that are too far from its reference.

    model: the file that `clapas data perplexity` wrote. keep: the buckets that stay. cuts: where the middle and the
    tail begin, as shares of the documents that the model was calibrated on. most: the highest perplexity that stays.
    """

    step: Literal["perplexity"] = "perplexity"
    model: Path
    keep: Annotated[tuple[Bucket, ...], Field(min_length=1)] = BUCKETS
    cuts: tuple[Share, Share] = (0.3, 0.6)
    most: Annotated[float, Field(gt=1)] | None = None

    @model_validator(mode="after")
    def _cuts_are_in_order(self) -> Perplexity:
        if self.cuts[0] >= self.cuts[1]:
            raise ValueError(f"cuts: found {list(self.cuts)}; the middle begins before the tail, as in [0.3, 0.6]")
        return self

    def __call__(self, batch: TextBatch) -> Outcome:
        """The score `perplexity`; the bucket's name, or `over_most`, as the reason."""
        model = _read(self.model)
        found = model.perplexity(batch)
        borders = np.interp(np.array(self.cuts) * 100, np.arange(101), model.header.percentiles)
        bucket = np.searchsorted(borders, found, side="left")
        rejected = {name: bucket == place for place, name in enumerate(BUCKETS) if name not in self.keep}
        if self.most is not None:
            rejected["over_most"] = found > self.most
        return Outcome(rejected=rejected, values=dict.fromkeys(rejected, found), scores={"perplexity": found})

    @property
    def score_names(self) -> tuple[str, ...]:
        """One score."""
        return ("perplexity",)

    def under(self, base: Path) -> Perplexity:
        """With the model's path made absolute."""
        return self.model_copy(update={"model": Path(absolute(base, str(self.model)))})

    def identity(self) -> dict[str, Any]:
        """The options, and the content of the model wherever it lies."""
        read_model(self.model)  # says what is wrong with it
        return {**super().identity(), "model": content_of([self.model])[0]}


def _read(path: Path) -> NgramModel:
    return _read_once(path, *signature(path)) if path.is_file() else read_model(path)


@lru_cache(maxsize=4)
def _read_once(path: Path, size: int, changed: int) -> NgramModel:
    return read_model(path)
