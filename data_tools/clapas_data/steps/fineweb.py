"""FineWeb's own rules (Penedo et al., 2024, arXiv 2406.17557, section 3.6), with FineWeb-2's settings for French.

Lines are those that are not empty. A line's end counts as punctuated after . ! ? … ; or a closing quotation mark: items
of French enumerations end with a semicolon, which FineWeb's English list lacks. Words are runs of letters and digits;
datatrove's spaCy split has the punctuation marks among them, so that its line ends a word are fewer than here.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from clapas_data.steps.rules import Rules, Share, share
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.glyphs import one_of
from clapas_data.text.repeats import repeated

NEWLINE = ord("\n")
ENDS = ".!?…;\"'»”’"


class FineWeb(Step):
    """Drop lists, menus and what repeats its lines: FineWeb's rules, with FineWeb-2's settings for French.

    min_punctuated_lines: share of the lines that end with punctuation.
    max_short_lines: share of the lines of at most `short_line` characters; off, as in FineWeb-2.
    max_duplicate_characters: share of the characters in lines that stand earlier in the document.
    max_line_ends: line ends a word; a list has many.
    """

    also_called: ClassVar[dict[str, str]] = {
        "line_punct_thr": "min_punctuated_lines",
        "short_line_thr": "max_short_lines",
        "short_line_length": "short_line",
        "char_duplicates_ratio": "max_duplicate_characters",
        "new_line_ratio": "max_line_ends",
    }

    step: Literal["fineweb"] = "fineweb"
    min_punctuated_lines: Share = 0.1
    max_short_lines: Share = None
    short_line: Annotated[int, Field(ge=1)] = 30
    max_duplicate_characters: Share = 0.1
    max_line_ends: float | None = 0.185

    def __call__(self, batch: TextBatch) -> Outcome:
        """Which documents break which rule."""
        lines, rules = batch.lines, Rules()
        first, last = batch.line_edges
        punctuated = one_of(ENDS)[batch.known[last]] & (first <= last)
        rules.least("punctuated_lines", self.min_punctuated_lines, share(lines.total(punctuated), lines.counts))
        short = lines.lengths <= self.short_line
        rules.most("short_lines", self.max_short_lines, share(lines.total(short), lines.counts))
        if self.max_duplicate_characters is not None:
            again = lines.total(lines.lengths * repeated(lines))
            rules.most("duplicate_characters", self.max_duplicate_characters, share(again, lines.total(lines.lengths)))
        ends = batch.count(batch.codes == NEWLINE) - 1  # the one that follows each document is not its own
        rules.most("line_ends", self.max_line_ends, ends / np.maximum(batch.words.counts, 1))
        return rules.outcome()
