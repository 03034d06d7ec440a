"""Documents at work in a pipeline: their text, and its code points, words and lines as NumPy arrays, made when asked.

All rules about words and lines read the same arrays, so that a chain of twenty rules takes the text apart once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from clapas_data.text.glyphs import LAST, SPACE, WORD, classes
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

    def count(self, chosen: np.ndarray) -> np.ndarray:
        """How many characters of each document are chosen, bool[characters]; faster than `total` where few are."""
        return np.diff(np.searchsorted(np.flatnonzero(chosen), self.bounds))

    @cached_property
    def words(self) -> Spans:
        """Runs of letters, digits and `_`: « l'été » has two."""
        inside = np.zeros(len(self.codes) + 1, bool)  # the last character is a line end
        np.not_equal(self.classes & WORD, 0, out=inside[1:])
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        return self._spans(edges[::2], edges[1::2] - edges[::2])

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

    @cached_property
    def line_of_words(self) -> np.ndarray:
        """The line of each word, as its place in `lines`: int64[words]."""
        return np.searchsorted(self.lines.starts, self.words.starts, side="right") - 1

    @cached_property
    def line_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last character of each line that is no space: int64[lines] each.

        Where a line has none, the first lies beyond the last.
        """
        starts, stops = self.lines.starts, self.lines.starts + self.lines.lengths
        space = (self.classes & SPACE) != 0
        if not (space[starts].any() or space[stops - 1].any()):
            return starts, stops - 1
        solid = np.flatnonzero(~space)
        if not len(solid):
            return stops, starts
        after = np.searchsorted(solid, starts)
        before = np.searchsorted(solid, stops) - 1
        first = np.where(after < len(solid), solid[np.minimum(after, len(solid) - 1)], stops)
        return first, np.where(before >= 0, solid[np.maximum(before, 0)], starts - 1)

    def _spans(self, starts: np.ndarray, lengths: np.ndarray) -> Spans:
        hashes = hashes_between(self._running, starts, lengths)
        return Spans(starts, lengths, hashes, np.searchsorted(starts, self.bounds))

    @cached_property
    def _running(self) -> np.ndarray:
        return running_hashes(self.known)
