"""C4's rules (Raffel et al., 2020, JMLR 21, section 2.2), as FineWeb uses them, with French words beside the English.

FineWeb leaves out the rule that drops all lines without closing punctuation, which takes every title and list; it is
off here too. C4 drops bad lines, then documents with too little left. FineWeb-2 applies none of this: few sentences and
short lines are what articles of law, tables and guides are made of, so let such a source switch those rules off.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from clapas_data.steps.rules import Rules
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.edit import without
from clapas_data.text.glyphs import SPACE, one_of
from clapas_data.text.phrases import Phrases
from clapas_data.text.sentences import sentences

POLICIES = (
    *("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"),
    *("politique de confidentialité", "politique de cookies", "politique relative aux cookies", "utilise des cookies"),
    *("utilisation de cookies", "utilisation des cookies", "utiliser des cookies", "utilisons des cookies"),
    *("dépôt de cookies", "accepter les cookies", "gérer les cookies", "paramétrer les cookies"),
)
"""C4's six (« terms of use » is a subject of French law, and has no French form here), and what French sites say."""
_CITATIONS = re.compile(
    r"\[(?:\d+|edit|citation needed|modifier(?: le (?:code|wikicode))?|réf\. (?:nécessaire|souhaitée))\]", re.IGNORECASE
)
_CLOSING = one_of(".?!\"'»”’…")


class C4(Step):
    """Drop lines of code, policies and lumps; then documents with too few sentences: C4's rules, as FineWeb uses them.

    closing_punctuation: keep only lines that end with . ? ! … or a closing quotation mark.
    min_words: words of a line; lines with fewer are dropped.
    max_word: characters without a space; lines with more are dropped.
    javascript, policies: drop lines with the word, or with a phrase about cookies and privacy.
    citations: take out « [12] », « [réf. nécessaire] », « [edit] ».
    curly_bracket, lorem_ipsum: drop documents with either.
    min_sentences: of what is left of a document.
    """

    also_called: ClassVar[dict[str, str]] = {
        "filter_no_terminal_punct": "closing_punctuation",
        "min_words_per_line": "min_words",
        "max_word_length": "max_word",
        "filter_javascript": "javascript",
        "filter_policy": "policies",
        "remove_citations": "citations",
        "filter_curly_bracket": "curly_bracket",
        "filter_lorem_ipsum": "lorem_ipsum",
        "min_num_sentences": "min_sentences",
    }
    edits: ClassVar[bool] = True

    step: Literal["c4"] = "c4"
    closing_punctuation: bool = False
    min_words: Annotated[int, Field(ge=1)] | None = 3
    max_word: Annotated[int, Field(ge=1)] | None = 1000
    javascript: bool = True
    policies: bool = True
    citations: bool = True
    curly_bracket: bool = True
    lorem_ipsum: bool = True
    min_sentences: Annotated[int, Field(ge=1)] | None = 5

    def __call__(self, batch: TextBatch) -> Outcome:
        """Texts without bad lines, and which documents break which rule."""
        lines, rules, bad = batch.lines, Rules(), self._bad_lines(batch)
        dropped = np.zeros(len(lines.starts), bool)
        for chosen in bad.values():
            dropped |= chosen
        counts = {f"lines_{name}": int(chosen.sum()) for name, chosen in bad.items() if chosen.any()}
        rules.most("curly_bracket", 0 if self.curly_bracket else None, batch.count(batch.codes == ord("{")))
        rules.most("lorem_ipsum", 0 if self.lorem_ipsum else None, _found(batch, ("lorem ipsum",), by_line=False))
        if self.min_sentences is not None:
            rules.least("few_sentences", self.min_sentences, lines.total(np.where(dropped, 0, sentences(batch))))
        texts = without(batch, lines, dropped)
        if self.citations and (batch.codes == ord("[")).any():
            texts = [_CITATIONS.sub("", text) if "[" in text else text for text in texts or batch.texts]
        return Outcome(texts=texts, counts=counts, rejected=rules.rejected, values=rules.values)

    def _bad_lines(self, batch: TextBatch) -> dict[str, np.ndarray]:
        """Why a line is dropped -> bool[lines]."""
        lines, bad = batch.lines, {}
        if self.closing_punctuation:
            first, last = batch.line_edges
            bad["unclosed"] = ~(_CLOSING[batch.known[last]] & (first <= last))
        if self.min_words is not None:
            bad["few_words"] = np.bincount(batch.line_of_words, minlength=len(lines.starts)) < self.min_words
        if self.max_word is not None:
            bad["long_word"] = _with_a_lump(batch, self.max_word)
        if self.javascript:
            bad["javascript"] = _found(batch, ("javascript",), by_line=True) > 0
        if self.policies:
            bad["policy"] = _found(batch, POLICIES, by_line=True) > 0
        return bad


def _found(batch: TextBatch, phrases: tuple[str, ...], *, by_line: bool) -> np.ndarray:
    """How often some phrases stand in each line, or in each document: int64."""
    places, _ = Phrases.of_texts(phrases).find_in_lines(batch)
    if by_line:
        return np.bincount(batch.line_of_words[places], minlength=len(batch.lines.starts))
    return np.bincount(batch.words.owners[places], minlength=len(batch))


def _with_a_lump(batch: TextBatch, most: int) -> np.ndarray:
    """Which lines have more than `most` characters without a space: bool[lines]."""
    lines = batch.lines
    found = np.zeros(len(lines.starts), bool)
    if (lines.lengths > most).any():
        spaces = np.flatnonzero(batch.classes & SPACE)
        lumps = spaces[np.flatnonzero(np.diff(spaces, prepend=-1) > most + 1)]
        found[np.searchsorted(lines.starts, lumps) - 1] = True
    return found
