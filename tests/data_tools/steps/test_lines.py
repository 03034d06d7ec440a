"""Steps that take lines out of a document, and the one that tells text read off a scan."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clapas.recipe.errors import UserError
from clapas_data.pipeline import run_steps
from clapas_data.steps.boilerplate import Boilerplate
from clapas_data.steps.ocr import Ocr
from clapas_data.steps.repetition import Repetition
from clapas_data.text.batch import TextBatch
from clapas_data.text.phrases import Phrases
from data_tools.steps import slow_rules

LAW = (
    "Le salarié peut demander à son employeur la modification de son contrat de travail. L'employeur répond dans un "
    "délai de quinze jours à compter de la réception de la demande ; à défaut, elle est réputée acceptée. Le présent "
    "article s'applique aux contrats conclus avant le 1er janvier 2024 (article L. 1222-6 du code du travail)."
)


def batch_of(*texts: str) -> TextBatch:
    return TextBatch(texts, ids=[str(place) for place in range(len(texts))])


def test_a_sites_lines_go_and_sentences_stay() -> None:
    """Each kind is counted; the same words within a sentence are the text's."""
    site = {
        "cookies": "Nous utilisons des cookies pour améliorer votre expérience. Tout accepter",
        "share": "Partager sur Facebook",
        "read_more": "Lire la suite…",
        "navigation": "  > Retour en haut",
        "copyright": "© 2024 Le Journal – Tous droits réservés",
        "newsletter": "Inscrivez-vous à notre newsletter !",
        "comments": "Laisser un commentaire",
        "page_numbers": "Page 3 sur 12",
    }
    text = [
        "Le fournisseur informe l'abonné de l'utilisation de cookies et recueille son consentement.",
        "Il faut lire la suite de ce texte pour comprendre.",
        "L'accueil du public est assuré de neuf heures à midi.",
        "12",
        "Page 3 du rapport, on lit que la recherche a progressé.",
    ]
    mixed = "\n".join(line for pair in zip([*site.values()], [*text, "", "", "Fin."], strict=True) for line in pair)
    passed = run_steps([Boilerplate()], batch_of(mixed, LAW, "- 12 -\n" + LAW, "Lire la suite"))
    assert [line for line in passed.texts[0].split("\n") if line] == [*text, "Fin."]
    assert passed.texts[1:] == [LAW, LAW]
    assert passed.counts[0].counts == {**dict.fromkeys(site, 1), "page_numbers": 2, "read_more": 2}
    assert passed.counts[0].reasons == {"empty": 1}
    only = run_steps([Boilerplate(kinds=("share",))], batch_of(mixed))
    assert only.texts[0].count("\n") == mixed.count("\n") - 1


PIECES = st.lists(st.sampled_from(["lire", "la", "Suite", "l'", "été", " ", ", ", "\n", "."]), max_size=25)


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES.map("".join), max_size=4))
def test_phrases_are_found_as_plain_python_does(texts: list[str]) -> None:
    """Each place of each phrase, within a line."""
    phrases = ["lire la suite", "suite", "l'été", "la", "la la"]
    batch = batch_of(*texts)
    places, numbers = Phrases.of_texts(phrases).find_in_lines(batch)
    found = sorted(zip(batch.line_of_words[places].tolist(), numbers.tolist(), strict=True))
    wanted: list[tuple[int, int]] = []
    for place, line in enumerate(line for text in texts for line in slow_rules.lines(text)):
        own = slow_rules.words(line)
        for number, phrase in enumerate(map(slow_rules.words, phrases)):
            starts = range(len(own) - len(phrase) + 1)
            wanted += [(place, number) for start in starts if own[start : start + len(phrase)] == phrase]
    assert found == sorted(wanted)


def test_repeated_lines_and_paragraphs_go() -> None:
    """Only those that follow themselves, unless all are asked for; short lines stay."""
    line, other = "Ceci est une ligne assez longue.", "En voici une autre, longue aussi."
    text = "\n".join([line, line.upper(), "Oui", "Oui", other, line, "", line, "", line])
    near = run_steps([Repetition()], batch_of(text, other))
    assert near.texts == ["\n".join([line, "Oui", "Oui", other, line]), other]
    assert near.counts[0].counts == {"paragraphs": 1, "lines": 2}
    everywhere = run_steps([Repetition(lines="all", paragraphs="none")], batch_of(text, other))
    assert everywhere.texts == ["\n".join([line, "Oui", "Oui", other]), other]
    assert run_steps([Repetition(lines="none", paragraphs="none")], batch_of(text)).texts == [text]


def misread(text: str, share: float, chance: random.Random) -> str:
    """A text as a poor scanner's program reads it: letters taken for others, words parted, stains, broken lines."""
    taken = {"rn": "m", "m": "rn", "l": "1", "e": "c", "o": "0", "é": "6", "n": "ri", "u": "ii", "s": "5", "i": "l"}
    found = []
    for character in text:
        kind = chance.random() / share
        if kind < 0.7:
            found.append(taken.get(character, chance.choice("|~^;") if character == " " else "i"))
        elif kind < 1:
            found.append(character + chance.choice([" ", "-\n", "•", "\\"]))
        else:
            found.append(character)
    return "".join(found)


def test_misread_text_is_told_from_sound_text(tmp_path: Path) -> None:
    """The score falls as more is misread, whatever stands beside it; a reference of one's own is heeded."""
    chance = random.Random(1)
    texts = [LAW, *(misread(LAW, share, chance) for share in (0.03, 0.1, 0.3)), "", "…"]
    outcome = Ocr()(batch_of(*texts))
    quality = outcome.scores["ocr_quality"]
    assert quality[0] > 0.98
    assert (np.diff(quality[:4]) < -0.02).all()
    assert outcome.rejected["misread"].tolist() == [False, False, True, True, False, False]
    assert [Ocr()(batch_of(text)).scores["ocr_quality"][0] for text in texts] == quality.tolist()
    reference = tmp_path / "reference.txt"
    reference.write_text(" ".join(["kwxz qjkw zzxk wxqk"] * 20_000), encoding="utf-8")
    own = Ocr(reference=Path("reference.txt")).under(tmp_path)
    strange = own(batch_of(LAW, "kwxz qjkw zzxk wxqk")).scores["ocr_quality"]
    assert strange[0] < 0.5 < 0.99 < strange[1]
    before = own.identity()
    reference.write_text(LAW * 50, encoding="utf-8")
    assert own.identity() != before
    assert own(batch_of(LAW)).scores["ocr_quality"][0] > 0.9, "read again, as it has changed"
    with pytest.raises(UserError, match=r"ocr\.reference"):
        Ocr(reference=tmp_path / "nowhere.txt").identity()


@pytest.mark.parametrize("step", [Ocr(), Boilerplate()])
def test_data_that_ship_are_part_of_what_a_step_is(step: Ocr | Boilerplate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phrase or a table that a new release brings is not met by work that an older one left in the cache."""
    before = step.identity()
    monkeypatch.setattr(f"{type(step).__module__}._shipped", lambda: b"other")
    assert step.identity() != before
