"""Documents at work in a pipeline: their text, and its code points, words and lines as NumPy arrays, made when asked.

All rules about words and lines read the same arrays, so that a chain of twenty rules takes the text apart once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from clapas_data.text.glyphs import LAST, WORD, classes, lower
from clapas_data.text.spans import Spans, hashes_between, running_hashes, sums

NEWLINE = 10


class TextBatch:
    """Some documents of one source.

    source: its name in the corpus file. ids, urls: of each document; a URL is empty where the source knows none.
    Arrays of characters are those of `codes`: all documents end to end, each followed by a line end.
    """

    def __init__(
        self, texts: Sequence[str], *, ids: Sequence[str], urls: Sequence[str] | None = None, source: str = ""
    ):
        self.texts = list(texts)
        self.ids = list(ids)
        self.urls = [""] * len(self.texts) if urls is None else list(urls)
        self.source = source

    def __len__(self) -> int:
        return len(self.texts)

    def only(self, wanted: np.ndarray) -> TextBatch:
        """The documents of a choice, bool[documents]."""
        places = np.flatnonzero(wanted).tolist()
        chosen = [[values[place] for place in places] for values in (self.texts, self.ids, self.urls)]
        return TextBatch(chosen[0], ids=chosen[1], urls=chosen[2], source=self.source)

    def with_texts(self, texts: Sequence[str]) -> TextBatch:
        """The same documents with other texts."""
        return TextBatch(texts, ids=self.ids, urls=self.urls, source=self.source)

    @cached_property
    def characters(self) -> np.ndarray:
        """Characters of each document: int64[documents]."""
        return np.fromiter(map(len, self.texts), np.int64, len(self.texts))

    @cached_property
    def bounds(self) -> np.ndarray:
        """Where each document begins in `codes`, and the end: int64[documents + 1]."""
        bounds = np.zeros(len(self.texts) + 1, np.int64)
        np.cumsum(self.characters + 1, out=bounds[1:])
        return bounds

    @cached_property
    def codes(self) -> np.ndarray:
        """All code points: uint32[characters]."""
        whole = "\n".join([*self.texts, ""])
        return np.frombuffer(whole.encode("utf-32-le", "surrogatepass"), np.uint32)

    @cached_property
    def known(self) -> np.ndarray:
        """Code points as places in the tables of glyphs.py: uint32[characters]."""
        return np.minimum(self.codes, LAST)

    @cached_property
    def classes(self) -> np.ndarray:
        """Class bits of each character (glyphs.py): uint8[characters]."""
        return classes()[self.known]

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum over each document of a value a character; the line end that follows a document is counted in."""
        return sums(values, self.bounds)

    @cached_property
    def words(self) -> Spans:
        """Runs of letters, digits and `_`: « l'été » has two."""
        inside = np.zeros(len(self.codes) + 2, np.int8)
        inside[1:-1] = (self.classes & WORD) != 0
        edges = np.diff(inside)
        starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        return self._spans(starts, stops - starts)

    @cached_property
    def lines(self) -> Spans:
        """Lines that are not empty, without their line ends; spaces at their ends are theirs."""
        stops = np.flatnonzero(self.codes == NEWLINE)
        starts = np.zeros(len(stops), np.int64)
        starts[1:] = stops[:-1] + 1
        full = stops > starts
        return self._spans(starts[full], (stops - starts)[full])

    @cached_property
    def paragraphs(self) -> Spans:
        """Runs of lines between empty lines."""
        ends = self.codes == NEWLINE
        closing = np.flatnonzero(ends[:-1] & ends[1:]) if len(ends) > 1 else np.zeros(0, np.int64)
        stops = np.union1d(closing, self.bounds[1:] - 1)
        starts = np.zeros(len(stops), np.int64)
        starts[1:] = stops[:-1] + 1
        starts += ends[np.minimum(starts, len(ends) - 1)] & (starts < stops)  # the second of two line ends
        full = stops > starts
        return self._spans(starts[full], (stops - starts)[full])

    def _spans(self, starts: np.ndarray, lengths: np.ndarray) -> Spans:
        hashes = hashes_between(self._running, starts, lengths)
        return Spans(starts, lengths, hashes, np.searchsorted(starts, self.bounds))

    @cached_property
    def _running(self) -> np.ndarray:
        return running_hashes(lower()[self.known])
