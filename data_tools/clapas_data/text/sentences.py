"""Sentences counted by their ends: no model, and the same count on any machine."""

from __future__ import annotations

import numpy as np

from clapas_data.text.batch import TextBatch
from clapas_data.text.glyphs import SPACE, UPPER, WORD, one_of

_MARKS = ".!?…"
_OPENINGS = "«\"“‘'(-–—"


def sentences(batch: TextBatch) -> np.ndarray:
    """Sentences of each line: int64[lines], at least 1.

    One ends at . ! ? or … after a word of two characters at least (« L. 123 » goes on), before a space and a capital
    or an opening mark; the last ends with its line.
    """
    codes, classes, lines = batch.codes, batch.classes, batch.lines
    counts = np.ones(len(lines.starts), np.int64)
    marks = np.flatnonzero(one_of(_MARKS)[batch.known])
    marks = marks[(marks >= 2) & (marks < len(codes) - 2)]
    ends = (classes[marks - 1] & classes[marks - 2] & WORD) != 0
    ends &= (classes[marks + 1] & SPACE) != 0
    after = batch.known[marks + 2]
    ends &= ((classes[marks + 2] & UPPER) != 0) | one_of(_OPENINGS)[after]
    owners = np.searchsorted(lines.starts, marks[ends], side="right") - 1
    same = marks[ends] + 2 < lines.starts[owners] + lines.lengths[owners]
    return counts + np.bincount(owners[same], minlength=len(counts))
