"""Gopher's rules of quality (Rae et al., 2021, arXiv 2112.11446, appendix A.1.1), with FineWeb-2's settings for French.

Words are runs of letters and digits, whatever their case; punctuation is none. datatrove, whose spaCy split also makes
a token of each punctuation mark, leaves marks out of most of these counts as well, so that thresholds carry over.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from clapas_data.steps.rules import Rules, Share, share
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.glyphs import LETTER
from clapas_data.text.phrases import Phrases

FRENCH_STOP_WORDS = (
    *("de", "la", "le", "et", "à", "en", "l", "des", "du", "les", "est", "d", "un", "une", "il", "dans", "par", "au"),
)
"""FineWeb-2's 18 for fra_Latn (its configs/fra_Latn.yml); « l' », « d' » without the apostrophe."""

BULLETS = "•‣◦▪●-–—*"
_ELLIPSIS, _DOT, _HASH = ord("…"), ord("."), ord("#")


class GopherQuality(Step):
    """Drop what does not look like prose: Gopher's rules of quality, with FineWeb-2's settings for French.

    min_words, max_words: words of a document.
    min_word_length, max_word_length: mean characters of its words.
    max_hashes, max_ellipses: `#`, and `…` or `...`, a word.
    max_bullet_lines: share of the lines that begin with a bullet or a dash.
    max_ellipsis_lines: share of the lines that end with an ellipsis.
    min_alphabetic_words: share of the words with a letter; FineWeb-2's `max_non_alpha_words_ratio` means this.
    min_stop_words: how many different ones of `stop_words` stand in it.
    """

    also_called: ClassVar[dict[str, str]] = {
        "min_doc_words": "min_words",
        "max_doc_words": "max_words",
        "min_avg_word_length": "min_word_length",
        "max_avg_word_length": "max_word_length",
        "max_symbol_word_ratio": "max_hashes",
        "max_bullet_lines_ratio": "max_bullet_lines",
        "max_ellipsis_lines_ratio": "max_ellipsis_lines",
        "max_non_alpha_words_ratio": "min_alphabetic_words",
    }

    step: Literal["gopher.quality"] = "gopher.quality"
    min_words: Annotated[int, Field(ge=1)] | None = 50
    max_words: Annotated[int, Field(ge=1)] | None = 100_000
    min_word_length: float | None = 2
    max_word_length: float | None = 11
    max_hashes: float | None = 0.1
    max_ellipses: float | None = 0.1
    max_bullet_lines: Share = 0.9
    max_ellipsis_lines: Share = 0.3
    min_alphabetic_words: Share = 0.812
    min_stop_words: Annotated[int, Field(ge=1)] | None = 2
    stop_words: tuple[str, ...] = FRENCH_STOP_WORDS

    def __call__(self, batch: TextBatch) -> Outcome:
        """Which documents break which rule."""
        words, lines, rules = batch.words, batch.lines, Rules()
        rules.least("few_words", self.min_words, words.counts)
        rules.most("many_words", self.max_words, words.counts)
        mean = share(words.characters - words.counts, words.counts)
        rules.least("short_words", self.min_word_length, mean)
        rules.most("long_words", self.max_word_length, mean)
        rules.most("hashes", self.max_hashes, share(batch.count(batch.codes == _HASH), words.counts))
        dots, ends = _ellipses(batch)
        rules.most("ellipses", self.max_ellipses, share(dots, words.counts))
        first, last = batch.line_edges
        bullets = lines.total(np.isin(batch.codes[first], _codes(BULLETS)) & (first <= last))
        rules.most("bullet_lines", self.max_bullet_lines, share(bullets, lines.counts))
        rules.most("ellipsis_lines", self.max_ellipsis_lines, share(lines.total(ends), lines.counts))
        if self.min_alphabetic_words is not None:
            alphabetic = share(words.total(_with_a_letter(batch)), words.counts)
            rules.least("few_alphabetic_words", self.min_alphabetic_words, alphabetic)
        if self.min_stop_words is not None:
            rules.least("few_stop_words", self.min_stop_words, _different(batch, self.stop_words))
        return rules.outcome()


def _codes(characters: str) -> np.ndarray:
    return np.array([ord(character) for character in characters], np.uint32)


def _ellipses(batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
    """Ellipses of each document, int64[documents], and which lines end with one, bool[lines]. Three dots are one."""
    dots = np.flatnonzero(batch.codes == _DOT)
    begins = np.flatnonzero(np.diff(dots, prepend=-2) > 1)
    threes = np.diff(begins, append=len(dots)) // 3
    runs = dots[begins]
    before = np.zeros(len(runs) + 1, np.int64)
    np.cumsum(threes, out=before[1:])
    counts = np.diff(before[np.searchsorted(runs, batch.bounds)])
    first, last = batch.line_edges
    ends = batch.codes[last] == _ELLIPSIS
    three = np.flatnonzero((batch.codes[last] == _DOT) & (last - first >= 2))
    places = last[three]
    ends[three] = (batch.codes[places - 1] == _DOT) & (batch.codes[places - 2] == _DOT)
    return counts + batch.count(batch.codes == _ELLIPSIS), ends & (first <= last)


def _with_a_letter(batch: TextBatch) -> np.ndarray:
    """Which words have a letter: bool[words]. What stands between two words has none."""
    if not len(batch.words.starts):
        return np.zeros(0, bool)
    return (np.bitwise_or.reduceat(batch.classes, batch.words.starts) & LETTER) != 0


def _different(batch: TextBatch, wanted: tuple[str, ...]) -> np.ndarray:
    """How many different ones of the wanted words each document has: int64[documents]."""
    places, numbers = Phrases.of_texts(wanted).find_in_lines(batch)
    found = np.zeros((len(batch), len(wanted)), bool)
    found[batch.words.owners[places], numbers] = True
    return found.sum(axis=1)
