"""Texts without some of their lines or paragraphs."""

from __future__ import annotations

import numpy as np

from clapas_data.text.batch import TextBatch
from clapas_data.text.spans import Spans


def without(batch: TextBatch, spans: Spans, dropped: np.ndarray) -> list[str] | None:
    """The batch's texts without some pieces and the line end after each; None where none is dropped.

    dropped: bool[pieces]. Only texts that lose something are made anew.
    """
    places = np.flatnonzero(dropped)
    if not len(places):
        return None
    texts = list(batch.texts)
    owners = spans.owners[places]
    starts = spans.starts[places] - batch.bounds[owners]
    stops = starts + spans.lengths[places] + 1
    kept: list[str] = []
    last, begin = -1, 0
    for owner, start, stop in zip(owners.tolist(), starts.tolist(), stops.tolist(), strict=True):
        if owner != last:
            if last >= 0:
                texts[last] = "".join([*kept, batch.texts[last][begin:]])
            kept, last, begin = [], owner, 0
        kept.append(batch.texts[owner][begin:start])
        begin = stop
    texts[last] = "".join([*kept, batch.texts[last][begin:]])
    return texts
