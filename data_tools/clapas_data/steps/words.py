"""Toxic and adult text by lists of words: a score, and a rejection only where several of them say so.

A list of words that drops whatever holds one of them takes away law, medicine and what minorities write of themselves
(Dodge et al., 2021, on C4). So here a word has a weight, a document is judged by its weighted share of such words, and
`distinct` different ones must stand in it. What courts, doctors and sociologists write is not in the shipped lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from clapas.recipe.errors import UserError
from clapas_data.listed import absolute, content_of, lines_of, signature
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.phrases import LONGEST, Phrases, words_of

SHIPPED = Path(__file__).parents[1] / "word_lists"
SHIPPED_NAMES = ("toxicity", "adult")
ENDING = ".tsv"


class Words(Step):
    """Score documents by lists of words, and drop those that score high on one.

    lists: `toxicity`, `adult`, or files of one's own (`mine.tsv`): a line is the forms of one term, separated by
    commas, a tab, and its weight. The score, and the reason, is called as the list is.
    threshold: weighted occurrences in 1,000 words; distinct: different terms of weight 1 or more; a document that
    reaches both is dropped. action: `score` drops nothing.
    """

    step: Literal["words"] = "words"
    lists: Annotated[tuple[str, ...], Field(min_length=1)] = SHIPPED_NAMES
    threshold: Annotated[float, Field(gt=0)] = 10.0
    distinct: Annotated[int, Field(ge=1)] = 2
    action: Literal["reject", "score"] = "reject"

    @field_validator("lists")
    @classmethod
    def _lists_are_known(cls, lists: tuple[str, ...]) -> tuple[str, ...]:
        for name in lists:
            if name not in SHIPPED_NAMES and not name.endswith(ENDING):
                raise ValueError(f"found {name!r}; wanted one that ships ({', '.join(SHIPPED_NAMES)}), or a .tsv file")
        stems = [Path(name).stem for name in lists]
        if len(set(stems)) < len(stems):
            raise ValueError(f"found {', '.join(lists)}; two lists of the same name would give one score")
        return lists

    def __call__(self, batch: TextBatch) -> Outcome:
        """A score a list; its name where a document has too much of it."""
        words = batch.words
        scores: dict[str, np.ndarray] = {}
        rejected: dict[str, np.ndarray] = {}
        for name, listed in zip(self.score_names, map(_read, map(_path, self.lists)), strict=True):
            firsts, _, forms = listed.phrases.find(words)
            terms = listed.term_of[forms]
            owners = np.searchsorted(words.bounds, firsts, side="right") - 1
            total = np.bincount(owners, listed.weights[terms], len(batch))
            scores[name] = 1000 * total / np.maximum(words.counts, 1)
            if self.action == "reject":
                strong = listed.weights[terms] >= 1
                pairs = np.unique(np.stack([owners[strong], terms[strong]]), axis=1)
                several = np.bincount(pairs[0], minlength=len(batch)) >= self.distinct
                rejected[name] = several & (scores[name] >= self.threshold)
        return Outcome(rejected=rejected, values={name: scores[name] for name in rejected}, scores=scores)

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of the lists."""
        return tuple(Path(name).stem for name in self.lists)

    def under(self, base: Path) -> Words:
        """With the paths of one's own lists made absolute."""
        paths = tuple(name if name in SHIPPED_NAMES else absolute(base, name) for name in self.lists)
        return self.model_copy(update={"lists": paths})

    def identity(self) -> dict[str, Any]:
        """The options, and the content of the lists wherever they lie."""
        options = super().identity()
        return {**options, "lists": [*zip(self.score_names, content_of(map(_path, self.lists)), strict=True)]}


@dataclass(frozen=True, slots=True)
class WordList:
    """A list as it is sought. phrases: all forms. term_of: the term of each form. weights: of each term."""

    phrases: Phrases
    term_of: np.ndarray
    weights: np.ndarray


def _path(name: str) -> Path:
    path = SHIPPED / f"{name}{ENDING}" if name in SHIPPED_NAMES else Path(name)
    if not path.is_file():
        raise UserError("step words: no such list", where=path, wanted=f"a file, or {', '.join(SHIPPED_NAMES)}")
    return path


def _read(path: Path) -> WordList:
    return _read_once(path, *signature(path))


@lru_cache(maxsize=16)
def _read_once(path: Path, size: int, changed: int) -> WordList:
    """Read a list. Raises UserError, with file and line, for what is no entry or stands twice."""
    forms: list[str] = []
    places: list[str] = []
    term_of: list[int] = []
    weights: list[float] = []
    for where, line in lines_of(path):
        term, _, weight = line.partition("\t")
        try:
            weights.append(float(weight))
        except ValueError:
            weights.append(0)
        own = [form.strip() for form in term.split(",")]
        if not 0 < weights[-1] <= 1000 or not all(own):
            wanted = "forms separated by commas, a tab, and a weight over 0: `mot, mots<tab>1`"
            raise UserError("not an entry of a list of words", where=where, found=repr(line), wanted=wanted)
        forms += own
        places += [where] * len(own)
        term_of += [len(weights) - 1] * len(own)
    _refuse_what_cannot_be_found(path, forms, places)
    return WordList(Phrases.of_texts(forms), np.array(term_of), np.array(weights))


def _refuse_what_cannot_be_found(path: Path, forms: Sequence[str], places: Sequence[str]) -> None:
    if not forms:
        raise UserError("a list of words without a word", where=path)
    words = words_of(forms)
    seen: dict[tuple[int, ...], str] = {}
    for form, where, first, last in zip(forms, places, words.bounds[:-1], words.bounds[1:], strict=True):
        if not 0 < last - first <= LONGEST:
            raise UserError("cannot be found in a text", where=where, found=repr(form), wanted=f"1 to {LONGEST} words")
        key = tuple(words.hashes[first:last].tolist())
        if key in seen:
            raise UserError("stands in the list already", where=where, found=repr(form), way_out=f"see {seen[key]}")
        seen[key] = where
