"""Documents that hold passages of evaluation sets: a model that has read the questions is not measured by them.

After Brown et al. (2020), appendix C: an n-gram of 13 words in common is a hit. There, n-grams that stand in many
documents were let pass as common phrases; a step sees a batch only, so `hits` asks for more of them where a set quotes
what everyone quotes: a passage of 13 + k words in common is 1 + k hits.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, StringConstraints

from clapas.recipe.typed import Section
from clapas_data.evaluation_sets import FEWEST, Index, index_of
from clapas_data.listed import Paths, absolute, content_of, matching, signature
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.phrases import LONGEST

SetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]

MARGIN = 200
"""Characters that are cut before and after a passage (Brown et al., 2020, appendix C)."""
SHORTEST_PIECE = 200
"""Characters of a piece that is worth keeping between two cuts (the same)."""
MOST_PIECES = 10
"""Pieces that a document may be cut into; what falls apart into more is dropped (the same)."""


class EvaluationSet(Section):
    """One evaluation set. files: JSONL (`.gz`, `.zst` too), Parquet, or `.txt`, each one text; globs allowed.

    fields: of a row, the texts; `answers.text` goes into mappings and lists, each string of a list is a text.
    """

    files: Paths
    fields: Annotated[tuple[str, ...], Field(min_length=1)] = ("text",)


class Evaluations(Step):
    """Drop, or cut, what stands in evaluation sets.

    sets: name -> its files and fields. words: of an n-gram; a text of 8 words or more that is shorter is one n-gram of
    all its words. hits: n-grams in common, from which on a document is dropped. action: `drop`, or `cut`, which takes
    out the passages with 200 characters on both sides and keeps the rest.
    """

    edits: ClassVar[bool] = True

    step: Literal["decontaminate.evaluations"] = "decontaminate.evaluations"
    sets: Annotated[dict[SetName, EvaluationSet], Field(min_length=1, max_length=64)]
    words: Annotated[int, Field(ge=FEWEST, le=LONGEST)] = 13
    hits: Annotated[int, Field(ge=1)] = 1
    action: Literal["drop", "cut"] = "drop"

    def __call__(self, batch: TextBatch) -> Outcome:
        """The sets' names as reasons, and how many of its n-grams each had in the documents."""
        index, words = self._index(), batch.words
        firsts, sizes, numbers = index.phrases.find(words)
        owners = np.searchsorted(words.bounds, firsts, side="right") - 1
        hits, counts = {}, {}
        for place, name in enumerate(self.sets):
            own = (index.masks[numbers] >> np.uint64(place)) & np.uint64(1) == 1
            hits[name] = np.bincount(owners[own], minlength=len(batch))
            if own.any():
                counts[name] = int(own.sum())
        rejected = {name: found >= self.hits for name, found in hits.items()}
        if self.action == "drop" or not len(firsts):
            return Outcome(rejected=rejected, values=hits, counts=counts)
        order = np.argsort(owners, kind="stable")
        firsts, sizes, owners = firsts[order], sizes[order], owners[order]
        bounds = np.searchsorted(owners, np.arange(len(batch) + 1))
        begin = words.starts[firsts] - batch.bounds[owners]
        end = words.starts[firsts + sizes - 1] + words.lengths[firsts + sizes - 1] - batch.bounds[owners]
        texts = list(batch.texts)
        lost = np.zeros(len(batch), bool)
        for document in np.flatnonzero(np.any([*rejected.values()], axis=0)).tolist():
            own = slice(bounds[document], bounds[document + 1])
            if (left := _cut(texts[document], begin[own], end[own])) is None:
                lost[document] = True
            else:
                texts[document] = left
        return Outcome(texts, {name: chosen & lost for name, chosen in rejected.items()}, hits, counts=counts)

    def under(self, base: Path) -> Evaluations:
        """With the sets' paths made absolute."""
        sets = {
            name: own.model_copy(update={"files": tuple(absolute(base, path) for path in own.files)})
            for name, own in self.sets.items()
        }
        return self.model_copy(update={"sets": sets})

    def identity(self) -> dict[str, Any]:
        """The content of the sets, wherever their files lie."""
        sets = {name: {"fields": own.fields, "files": content_of(self._files(name))} for name, own in self.sets.items()}
        return {**super().identity(), "sets": sets}

    def _files(self, name: str) -> list[Path]:
        return matching(self.sets[name].files, f"evaluation set {name}")

    def _index(self) -> Index:
        sets = tuple((tuple(self._files(name)), own.fields) for name, own in self.sets.items())
        signatures = tuple(signature(path) for files, _ in sets for path in files)
        return _read(sets, tuple(self.sets), self.words, signatures)


@lru_cache(maxsize=2)
def _read(sets: Any, names: tuple[str, ...], words: int, signatures: tuple[tuple[int, int], ...]) -> Index:
    return index_of(sets, names, words)


def _cut(text: str, begins: np.ndarray, ends: np.ndarray) -> str | None:
    """A text without some passages and what is around them; None where nothing is left, or too many pieces."""
    pieces: list[str] = []
    at = 0
    for begin, end in sorted(zip(begins.tolist(), ends.tolist(), strict=True)):
        pieces.append(text[at : max(at, begin - MARGIN)])
        at = max(at, end + MARGIN)
    pieces.append(text[at:])
    pieces = [piece.strip() for piece in pieces if len(piece) >= SHORTEST_PIECE]
    return "\n\n".join(pieces) if 0 < len(pieces) <= MOST_PIECES else None
