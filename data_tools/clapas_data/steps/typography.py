"""French typography, made uniform only where the corpus file says so: by default nothing is changed.

Which apostrophe a text has says which keyboard wrote it; a model that reads both learns two words for one. No-break
spaces before « ; : ! ? » and within « guillemets » are what French asks for, and stay unless told otherwise.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch

_LETTER = "[^\\W\\d_]"
_STRAIGHT = re.compile(f"(?<={_LETTER})'(?={_LETTER})")
_CURLY = re.compile(f"(?<={_LETTER})[’ʼ](?={_LETTER})")
_NO_BREAK = re.compile("[\u00a0\u202f]")


class Typography(Step):
    """Make apostrophes within words and no-break spaces uniform.

    apostrophes: `keep`, `straight` (') or `curly` (’), between two letters only: quotation marks stay.
    no_break_spaces: `keep`, or `plain`, which makes each an ordinary space.
    """

    edits: ClassVar[bool] = True

    step: Literal["typography"] = "typography"
    apostrophes: Literal["keep", "straight", "curly"] = "keep"
    no_break_spaces: Literal["keep", "plain"] = "keep"

    def __call__(self, batch: TextBatch) -> Outcome:
        """Texts made uniform."""
        texts = batch.texts
        if self.apostrophes == "straight":
            texts = [_CURLY.sub("'", text) if "’" in text or "ʼ" in text else text for text in texts]
        elif self.apostrophes == "curly":
            texts = [_STRAIGHT.sub("’", text) if "'" in text else text for text in texts]
        if self.no_break_spaces == "plain":
            texts = [_NO_BREAK.sub(" ", text) for text in texts]
        return Outcome(texts=None if texts is batch.texts else texts)
