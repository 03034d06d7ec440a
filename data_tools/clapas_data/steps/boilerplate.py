"""Lines that belong to a site and not to a text: cookie banners, share buttons, menus, « Lire la suite », page numbers.

The phrases are data, `boilerplate.yaml` beside this file. A line is only dropped where it is such a phrase as a whole,
or is short and begins with or contains one: a sentence about cookies in an article of law stays.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from importlib.resources import files
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import yaml

from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.edit import without
from clapas_data.text.glyphs import LETTER, one_of
from clapas_data.text.phrases import Phrases

Kind = Literal["cookies", "share", "read_more", "navigation", "copyright", "newsletter", "comments", "page_numbers"]
_PAGE_NUMBER = re.compile(
    r"(?:page|p\.)\s*\d{1,4}(?:\s*(?:sur|of|/|de)\s*\d{1,4})?|[-–—]\s*\d{1,4}\s*[-–—]", re.IGNORECASE
)
_OPENS_A_NUMBER = one_of("pP-–—")


class Boilerplate(Step):
    """Take out a site's own lines, and count them by kind.

    kinds: of `cookies`, `share`, `read_more`, `navigation`, `copyright`, `newsletter`, `comments`, and `page_numbers`
    (« Page 3 sur 12 », « - 3 - »; a bare number may be a table's).
    """

    edits: ClassVar[bool] = True

    step: Literal["boilerplate"] = "boilerplate"
    kinds: tuple[Kind, ...] = get_args(Kind)

    def identity(self) -> dict[str, Any]:
        """The options, and what the phrases are."""
        return {**super().identity(), "phrases": hashlib.sha256(_shipped()).hexdigest()}

    def __call__(self, batch: TextBatch) -> Outcome:
        """Texts without those lines."""
        lines, known = batch.lines, _phrases()
        dropped = np.zeros(len(lines.starts), bool)
        counts: dict[str, int] = {}
        kinds = known.match(batch)
        for kind in self.kinds:
            chosen = _page_numbers(batch) if kind == "page_numbers" else kinds == known.kinds.index(kind)
            if chosen.any():
                counts[kind] = int((chosen & ~dropped).sum())
                dropped |= chosen
        return Outcome(texts=without(batch, lines, dropped), counts=counts)


class _Known(NamedTuple):
    """The phrases of boilerplate.yaml. Arrays are of phrases: the place of its kind in `kinds`, its words, how many
    words its line may have, whether it begins the line."""

    kinds: list[str]
    phrases: Phrases
    kind: np.ndarray
    most_words: np.ndarray
    begins: np.ndarray

    def match(self, batch: TextBatch) -> np.ndarray:
        """The kind of each line, as its place in `kinds`: int64[lines], -1 for a line of the text."""
        found = np.full(len(batch.lines.starts), -1)
        places, numbers = self.phrases.find_in_lines(batch)
        if not len(places):
            return found
        owners = batch.line_of_words[places]
        begin, end = (np.searchsorted(batch.line_of_words, owners, side=side) for side in ("left", "right"))
        fits = end - begin <= self.most_words[numbers]
        fits &= ~self.begins[numbers] | (places == begin)
        found[owners[fits]] = self.kind[numbers[fits]]
        return found


def _shipped() -> bytes:
    return (files(__package__ or "") / "boilerplate.yaml").read_bytes()


@lru_cache(maxsize=1)
def _phrases() -> _Known:
    data = yaml.safe_load(_shipped())
    rows: list[tuple[str, int, int, bool]] = []
    for number, entry in enumerate(data.values()):
        rows += [(phrase, number, len(re.findall(r"\w+", phrase)), True) for phrase in entry.get("lines", ())]
        rows += [(phrase, number, entry["most_words"], True) for phrase in entry.get("starts", ())]
        rows += [(phrase, number, entry["most_words"], False) for phrase in entry.get("contains", ())]
    columns = list(zip(*rows, strict=True))
    return _Known(list(data), Phrases.of_texts(columns[0]), *(np.array(column) for column in columns[1:]))


def _page_numbers(batch: TextBatch) -> np.ndarray:
    """Which lines are a page's number: bool[lines]."""
    lines = batch.lines
    found = np.zeros(len(lines.starts), bool)
    first, last = batch.line_edges
    likely = _OPENS_A_NUMBER[batch.known[first]] & (last - first < 24) & ((batch.classes[last] & LETTER) == 0)
    for place in np.flatnonzero(likely).tolist():
        begin = int(lines.starts[place] - batch.bounds[lines.owners[place]])
        line = batch.texts[lines.owners[place]][begin : begin + int(lines.lengths[place])]
        found[place] = _PAGE_NUMBER.fullmatch(line.strip()) is not None
    return found
