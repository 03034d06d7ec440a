"""Gopher's rules of repetition (Rae et al., 2021, arXiv 2112.11446, table A1), with FineWeb-2's settings for French.

A line, a paragraph or a run of words is a duplicate where the same, but for case, stands earlier in the document. The
first of its places is none. Characters of words are counted with one space after each, over all of the document's
words so counted: punctuation, which datatrove's spaCy split has among the words, is in neither count.

- top n-grams: share of the characters in the most frequent run of n words. A run that stands once is no repetition;
  datatrove counts it, which in a text of twenty words is a tenth.
- duplicate n-grams: share of the characters within duplicate runs of n words, each character counted once, as the
  paper says. datatrove walks the text and jumps over each duplicate: up to n - 1 words of a repeated passage are lost.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_serializer

from clapas_data.steps.rules import Rules, Share, share
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.repeats import covered, most_frequent, repeated, repeated_runs
from clapas_data.text.spans import Spans

Sizes = dict[Annotated[int, Field(ge=2, le=20)], Annotated[float, Field(ge=0)]]


class GopherRepetition(Step):
    """Drop what repeats itself: Gopher's rules of repetition, with FineWeb-2's settings for French.

    duplicate_lines, duplicate_paragraphs: share of the lines, of the paragraphs, that stand earlier in the document.
    duplicate_line_characters, duplicate_paragraph_characters: the same by characters.
    top_ngrams: by n, the most frequent run of n words: its share of the characters.
    duplicate_ngrams: by n, runs of n words that stand earlier in the document: their share of the characters.
    """

    also_called: ClassVar[dict[str, str]] = {
        "dup_line_frac": "duplicate_lines",
        "dup_para_frac": "duplicate_paragraphs",
        "dup_line_char_frac": "duplicate_line_characters",
        "dup_para_char_frac": "duplicate_paragraph_characters",
        "top_n_grams": "top_ngrams",
        "dup_n_grams": "duplicate_ngrams",
    }

    step: Literal["gopher.repetition"] = "gopher.repetition"
    duplicate_lines: Share = 0.264
    duplicate_paragraphs: Share = None
    duplicate_line_characters: Share = None
    duplicate_paragraph_characters: Share = None
    top_ngrams: Sizes | None = Field(default_factory=lambda: {2: 0.161, 3: 0.149, 4: 0.134})
    duplicate_ngrams: Sizes | None = Field(
        default_factory=lambda: {5: 0.15, 6: 0.141, 7: 0.131, 8: 0.121, 9: 0.111, 10: 0.1}
    )

    @field_serializer("top_ngrams", "duplicate_ngrams")
    def _keys_of_json(self, sizes: dict[int, float] | None) -> dict[str, float] | None:
        return None if sizes is None else {str(size): share for size, share in sizes.items()}

    def __call__(self, batch: TextBatch) -> Outcome:
        """Which documents break which rule."""
        rules = Rules()
        self._pieces(rules, batch, "line", self.duplicate_lines, self.duplicate_line_characters)
        self._pieces(rules, batch, "paragraph", self.duplicate_paragraphs, self.duplicate_paragraph_characters)
        top, duplicate = self.top_ngrams or {}, self.duplicate_ngrams or {}
        if sizes := {*top, *duplicate}:
            words = batch.words
            for runs in repeated_runs(words, min(sizes), max(sizes)):
                if runs.size in top:
                    characters = most_frequent(words, runs)
                    rules.most(f"top_{runs.size}_gram", top[runs.size], share(characters, words.characters))
                if runs.size in duplicate:
                    characters = covered(words, runs)
                    rules.most(
                        f"duplicate_{runs.size}_grams", duplicate[runs.size], share(characters, words.characters)
                    )
        return rules.outcome()

    def _pieces(
        self, rules: Rules, batch: TextBatch, kind: str, number: float | None, characters: float | None
    ) -> None:
        """The two rules of lines, or of paragraphs."""
        if number is None and characters is None:
            return
        spans: Spans = batch.lines if kind == "line" else batch.paragraphs
        again = repeated(spans)
        rules.most(f"duplicate_{kind}s", number, share(spans.total(again), spans.counts))
        again_characters, all_characters = spans.total(spans.lengths * again), spans.total(spans.lengths)
        rules.most(f"duplicate_{kind}_characters", characters, share(again_characters, all_characters))
