"""Text read off a scan, and how well: by words with sequences of characters that French hardly ever has.

The table that ships was made from the demo's public text, French law and the labour ministry's guides
(`python -m clapas_data.ocr_table demo`); one of another language or time is made from a file of sound text.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from clapas.recipe.errors import UserError
from clapas_data.listed import signature
from clapas_data.steps.rules import Share
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.trigrams import rare_trigrams, unlikely_words, unpacked

TABLE = "rare_trigrams.bin"


class Ocr(Step):
    """Drop text that was misread from a scan. `ocr_quality` is the share of words whose characters follow as in French.

    Of French law with 8 % of its characters misread, half has less than 0.82; of clean law, 1 in 100 less than 0.91.
    threshold: the least `ocr_quality`; none for the score alone.
    reference: a UTF-8 text file of sound text, some megabytes, in place of the table that ships.
    """

    also_called: ClassVar[dict[str, str]] = {"ocr_quality": "threshold"}

    step: Literal["ocr"] = "ocr"
    threshold: Share = 0.88
    reference: Path | None = None

    @property
    def score_names(self) -> tuple[str, ...]:
        """`ocr_quality`."""
        return ("ocr_quality",)

    def under(self, base: Path) -> Ocr:
        """The same step with an absolute `reference`."""
        if self.reference is None:
            return self
        return self.model_copy(update={"reference": (base / self.reference.expanduser()).absolute()})

    def identity(self) -> dict[str, Any]:
        """The options, and what is in the reference, or in the table that ships, rather than a path."""
        content = _shipped() if self.reference is None else _read(self.reference)
        return {**super().identity(), "reference": hashlib.sha256(content).hexdigest()}

    def __call__(self, batch: TextBatch) -> Outcome:
        """The score, and which documents have less than the threshold."""
        counts = batch.words.counts
        quality = 1 - unlikely_words(batch, self._table()) / np.maximum(counts, 1)
        scores = {"ocr_quality": quality}
        if self.threshold is None:
            return Outcome(scores=scores)
        reason = "misread"
        return Outcome(rejected={reason: quality < self.threshold}, values={reason: quality}, scores=scores)

    def _table(self) -> np.ndarray:
        return _table(self.reference, None if self.reference is None else signature(self.reference))


@lru_cache(maxsize=4)
def _table(reference: Path | None, state: tuple[int, int] | None) -> np.ndarray:
    """state: of the file, so that one that has changed since is read again."""
    if reference is None:
        return unpacked(_shipped())
    return rare_trigrams([_read(reference).decode("utf-8", "replace")])


def _shipped() -> bytes:
    return (files(__package__ or "") / TABLE).read_bytes()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            "steps: ocr.reference cannot be read", where=path, found=reason, wanted="a UTF-8 text file of sound text"
        ) from None
