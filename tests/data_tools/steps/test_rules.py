"""The rules of Gopher, FineWeb and C4: as plain Python has them, on any text; as a reader would have them, on a few."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clapas_data.clean import clean
from clapas_data.steps.boilerplate import Boilerplate
from clapas_data.steps.c4 import C4, POLICIES
from clapas_data.steps.fineweb import FineWeb
from clapas_data.steps.gopher import GopherQuality
from clapas_data.steps.gopher_repetition import GopherRepetition
from clapas_data.steps.ocr import Ocr
from clapas_data.steps.repetition import Repetition
from clapas_data.steps.step import Step
from clapas_data.text import repeats
from clapas_data.text.batch import TextBatch
from data_tools.steps import slow_rules

ALL_ON = (
    (GopherQuality(), slow_rules.gopher_quality),
    (
        GopherRepetition(duplicate_paragraphs=0.3, duplicate_line_characters=0.2, duplicate_paragraph_characters=0.2),
        slow_rules.gopher_repetition,
    ),
    (FineWeb(max_short_lines=0.5), slow_rules.fineweb),
)
_PIECES = [
    *("la loi", "l'été", "À", "une", "cookies", "utilise des ", "javascript", "12", "a1", "_", "mot", "Mot", "#", "{"),
    *("…", "...", "....", ".", ". ", "L. 12. A", "? «", "!", ";", "»", " ", "  ", "\u00a0", "\t", "-", "•", ",", "\n"),
    *("\n", "\n\n", "le mot de la fin\n", "un deux trois quatre cinq six sept huit neuf dix onze\n", "x" * 1001),
]
TEXTS = st.lists(st.lists(st.sampled_from(_PIECES), max_size=40).map("".join), max_size=5)


def batch_of(*texts: str) -> TextBatch:
    return TextBatch(texts, ids=[str(place) for place in range(len(texts))])


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_each_rule_measures_what_plain_python_does(texts: list[str]) -> None:
    """Every value of every rule, and that it is the value which decides."""
    batch = batch_of(*texts)
    for step, slow in ALL_ON:
        outcome = step(batch)
        for place, text in enumerate(texts):
            wanted = slow(text)
            measured = {reason: float(values[place]) for reason, values in outcome.values.items()}
            assert measured == pytest.approx(wanted), (step.step, text)
        for reason, values in outcome.values.items():
            inside = np.array([not outcome.rejected[reason][place] for place in range(len(texts))], bool)
            assert (values[inside].max(initial=-1) <= values[~inside].min(initial=9e9)) or (
                values[inside].min(initial=9e9) >= values[~inside].max(initial=-1)
            )


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_c4_leaves_what_plain_python_does(texts: list[str]) -> None:
    """The lines that stay, the sentences counted, and the documents with a curly bracket."""
    batch = batch_of(*texts)
    outcome = C4(citations=False)(batch)
    for place, text in enumerate(texts):
        left, sentences = slow_rules.c4(text, POLICIES)
        assert clean((outcome.texts or texts)[place]) == clean(left)
        assert outcome.values["few_sentences"][place] == sentences
        assert outcome.rejected["curly_bracket"][place] == ("{" in text)


STEPS: tuple[Step, ...] = (C4(), Boilerplate(), Ocr(), Repetition(lines="all"), *(step for step, _ in ALL_ON))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.step)
@given(texts=TEXTS)
@settings(max_examples=15, deadline=None)
def test_the_cut_into_batches_changes_nothing(step: Step, texts: list[str]) -> None:
    """A document alone is judged as among others."""
    together = step(batch_of(*texts))
    for place, text in enumerate(texts):
        alone = step(batch_of(text))
        assert {reason: bool(values[0]) for reason, values in alone.rejected.items()} == {
            reason: bool(values[place]) for reason, values in together.rejected.items()
        }
        assert (alone.texts or [text])[0] == (together.texts or texts)[place]
        assert [values[0] for values in alone.scores.values()] == [values[place] for values in together.scores.values()]


def test_groups_are_right_where_hashes_nearly_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """High bits that meet by chance: the groups are those of the whole hashes."""
    monkeypatch.setattr(repeats, "mixed", lambda values: values)
    hashes = np.array([0b0100, 0b1000, 0b0100, 0b1000, 0b0101, 0b0100], np.uint64) << np.uint64(1)
    found = repeats.groups(hashes, np.zeros(6, np.int64))
    assert found.later.tolist() == [2, 3, 5]
    assert sorted(found.sizes.tolist()) == [1, 2, 3]


def test_what_each_rule_is_for() -> None:
    """One text a rule, and the first reason told; an article of law passes."""
    law = (
        "Le salarié peut demander à son employeur la modification de son contrat de travail. L'employeur répond dans "
        "un délai de quinze jours à compter de la réception de la demande ; à défaut, elle est réputée acceptée. Les "
        "modalités d'application du présent article sont fixées par décret en Conseil d'Etat, après avis des comités."
    )
    menu = "\n".join(f"• Rubrique {name} et la suite de la rubrique" for name in "abcdefghijklmnop")
    cases = {
        law: None,
        "Trop court pour un document.": "few_words",
        menu: "bullet_lines",
        " ".join(["1234", "5678"] * 30) + " de la": "few_alphabetic_words",
        "The court held that every claim was void because no party had signed " * 5: "few_stop_words",
        "\n".join(f"Voici la nouvelle numéro {place} du jour et la suite..." for place in range(9)): "ellipsis_lines",
        "a b c d e f g " * 9 + "de la": "short_words",
    }
    for text, reason in cases.items():
        rejected = GopherQuality()(batch_of(text)).rejected
        assert next((name for name, values in rejected.items() if values[0]), None) == reason, text
    refrain = law + "\n" + "Vu le code du travail, le conseil décide ce qui suit.\n" * 6
    assert GopherRepetition()(batch_of(law, refrain)).rejected["duplicate_lines"].tolist() == [False, True]
    assert FineWeb()(batch_of(law, refrain)).rejected["duplicate_characters"].tolist() == [False, True]
    written = orjson.loads(orjson.dumps(GopherRepetition().model_dump(mode="json")))  # as a manifest keeps it
    assert GopherRepetition.model_validate(written) == GopherRepetition()
    off = GopherRepetition(duplicate_lines=None, top_ngrams=None, duplicate_ngrams=None)
    assert not off(batch_of(refrain)).rejected


def test_c4_takes_lines_and_citations_out() -> None:
    """What is said of cookies and scripts goes, with the count of its lines; law that speaks of terms of use stays."""
    text = (
        "Paris est la capitale de la France[12].\nNous utilisons des cookies pour améliorer votre visite.\n"
        "Activez JavaScript pour voir cette page.\nMenu\n"
        "Les conditions d'utilisation sont fixées par décret[réf. nécessaire]."
    )
    outcome = C4(min_sentences=None)(batch_of(text, "Lorem ipsum dolor sit amet, consectetur."))
    assert outcome.texts is not None
    assert outcome.texts[0] == (
        "Paris est la capitale de la France.\nLes conditions d'utilisation sont fixées par décret."
    )
    assert dict(outcome.counts) == {"lines_policy": 1, "lines_javascript": 1, "lines_few_words": 1}
    assert outcome.rejected["lorem_ipsum"].tolist() == [False, True]
