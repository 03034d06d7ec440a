"""Steps on a batch: what each drops is counted once, with its reason, and later steps do not hear of it."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from clapas_data.pipeline import EXCERPT, SAMPLES, fewest, run_steps
from clapas_data.steps.personal import Personal
from clapas_data.steps.repair import Repair
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.hash import text_hash


class Short(Step):
    """Drops what has fewer words than `least`; scores the words."""

    step: Literal["short"] = "short"
    least: int = 2

    @property
    def score_names(self) -> tuple[str, ...]:
        return ("words",)

    def __call__(self, batch: TextBatch) -> Outcome:
        words = batch.words.counts
        return Outcome(rejected={"few_words": words < self.least}, values={"few_words": words}, scores={"words": words})


class Cut(Step):
    """Takes a word away wherever it stands, and counts the documents that it saw."""

    edits: ClassVar[bool] = True
    step: Literal["cut"] = "cut"
    word: str = "rien"

    def __call__(self, batch: TextBatch) -> Outcome:
        texts = [text.replace(self.word, "") for text in batch.texts]
        return Outcome(texts=texts, counts={"seen": len(batch)})


def batch_of(*texts: str) -> TextBatch:
    return TextBatch(texts, ids=[f"d{place}" for place in range(len(texts))], source="essai")


def test_what_is_left_and_why_the_rest_is_not() -> None:
    """Counts of a step begin where those before it ended; a document that an edit empties is dropped as `empty`."""
    batch = batch_of("un", "un deux", "rien rien", "rien de trop", "", "cinq six sept huit neuf")
    passed = run_steps([Short(), Cut(), Short(least=3)], batch)
    first, cut, last = passed.counts
    assert passed.kept.tolist() == [5]
    assert passed.texts == ["cinq six sept huit neuf"]
    assert passed.scores["words"].tolist() == [5]
    assert (first.documents_in, first.documents_out, dict(first.reasons)) == (6, 4, {"few_words": 2})
    assert (cut.documents_in, cut.documents_out, dict(cut.reasons)) == (4, 3, {"empty": 1})
    assert (cut.changed, cut.counts["seen"], cut.bytes_in - cut.bytes_out) == (2, 4, len("rien rien") + len("rien "))
    assert (last.documents_in, last.documents_out, dict(last.reasons)) == (3, 1, {"few_words": 2})
    reasons = {(sample.id, sample.step, sample.reason, sample.value) for sample in passed.rejected}
    assert reasons == {
        ("d0", "short", "few_words", 1.0),
        ("d1", "short", "few_words", 2.0),
        ("d2", "cut", "empty", None),
        ("d3", "short", "few_words", 2.0),
        ("d4", "short", "few_words", 0.0),
    }


def test_the_cut_into_batches_changes_nothing() -> None:
    """What is left, its scores, and the samples of what is not are those of one batch."""
    texts = [f"mot {'autre ' * (place % 3)}{place}" for place in range(700)]
    whole = run_steps([Short(least=3)], batch_of(*texts))
    batch = batch_of(*texts)
    sevenths = [batch.only(np.arange(700) // 7 == number) for number in range(100)]
    parts = [run_steps([Short(least=3)], part) for part in sevenths]
    assert [text for part in parts for text in part.texts] == whole.texts
    assert np.concatenate([part.scores["words"] for part in parts]).tolist() == whole.scores["words"].tolist()
    assert fewest([sample for part in parts for sample in part.rejected]) == fewest(whole.rejected)
    assert len(whole.rejected) == SAMPLES


def test_what_is_dropped_before_personal_is_shown_without_personal_data() -> None:
    """As it would have left that step, wherever the cut falls; and no hash tells a number that can be guessed."""
    number, mail = "06 12 34 56 78", "claire.martin@exemple.fr"
    short = f"Appelez Mme Claire Martin au {number} ou {mail}."
    cut = [f"{'mot ' * 480}{'x' * pad} {number} {'mot ' * 200}" for pad in range(80)]
    later = f"Dossier n° 123456. {'mot ' * 600}Le patient a été vu en consultation."
    drop_all = Short(least=10_000)
    passed = run_steps([Repair(), drop_all, Personal(leave=("person",))], batch_of(short, number, later, *cut))
    assert not passed.texts
    assert len(passed.rejected) == len(cut) + 3
    by_id = {sample.id: sample for sample in passed.rejected}
    assert by_id["d0"].text == "Appelez Mme Claire Martin au <TÉLÉPHONE> ou <COURRIEL>."
    assert by_id["d1"].text == "<TÉLÉPHONE>"
    assert by_id["d1"].hash == text_hash("<TÉLÉPHONE>".encode())
    assert not [sample.text for sample in passed.rejected if any(digit in sample.text for digit in "0123456789")]
    assert {len(sample.text) for sample in passed.rejected[2:]} <= set(range(EXCERPT + 1))
    assert not passed.counts[2].counts, "what it does for the samples is not in its counts"
    (raw,) = run_steps([Repair(), drop_all], batch_of(short)).rejected
    assert (raw.text, raw.hash) == (short, text_hash(short.encode()))


def test_an_empty_batch() -> None:
    """Nothing comes of nothing."""
    passed = run_steps([Short(), Cut()], batch_of())
    assert not passed.texts
    assert [counts.documents_in for counts in passed.counts] == [0, 0]


def test_mojibake_is_mended_and_french_left_alone() -> None:
    """Double encodings too; quotes, ligatures and no-break spaces of sound text stay."""
    sound = "« L’œuvre\u00a0» d'un cœur à Œdipe\u202f: 50\u00a0€ – ﬁn… Ça, là-bas\u00a0! ½ ×"
    lost = "Une p\ufffdriode o\ufffd l'\ufffdtat d\ufffdcide"
    passed = run_steps([Repair()], batch_of(sound, "L'Ã©tÃ© Ã\u00a0 la plage, câ€™est lâ€™annÃ©e", lost))
    assert passed.texts == [sound, "L'été à la plage, c’est l’année"]
    assert passed.counts[0].reasons == {"replacement_characters": 1}
    assert passed.counts[0].changed == 1
