"""Which language a document or a paragraph is in, offline, and what goes because of it."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from pydantic import ValidationError

from clapas_data.pipeline import run_steps
from clapas_data.steps.language import Language, LanguageParagraphs
from clapas_data.text.batch import TextBatch

FRENCH = (
    "La demande est présentée par écrit à l'administration, qui dispose d'un délai de deux mois pour y répondre ; "
    "son silence vaut décision de rejet dans les cas prévus par la loi."
)
ENGLISH = (
    "The request must be submitted in writing to the authority, which has two months to answer it; "
    "its silence amounts to a refusal in the cases provided for by the law."
)
OCCITAN = (
    "Lo clapàs es lo nom que los Montpelhierencs donan a lor vila, que foguèt bastida sus un puèg entre la mar e la "
    "montanha, e que son universitat es una de las mai ancianas d'Euròpa."
)


def batch_of(*texts: str) -> TextBatch:
    return TextBatch(texts, ids=[str(place) for place in range(len(texts))])


def test_documents_in_other_languages_go_and_no_network_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """French stays, in capitals and in one short line too; Occitan where it is kept; a French title saves nothing."""
    monkeypatch.setattr(socket, "socket", None)  # a download would fail
    titled = f"Droit de l'administration\n{ENGLISH}\n{ENGLISH}\n{ENGLISH}"
    texts = (
        FRENCH,
        ENGLISH,
        OCCITAN,
        FRENCH.upper(),
        "Le ministre arrête la liste des organismes.",
        titled,
    )
    outcome = Language()(batch_of(*texts))
    assert outcome.rejected["other_language"].tolist() == [False, True, True, False, False, True]
    score = outcome.scores["language_score"]
    assert ((score >= 0) & (score <= 1)).all()
    assert score[0] > 0.95 > 0.05 > score[1]
    assert Language(keep=("fr", "oc"))(batch_of(*texts)).rejected["other_language"].tolist()[2] is False
    alone = [Language()(batch_of(text)).scores["language_score"][0] for text in texts]
    assert np.array_equal(alone, score)


def test_paragraphs_in_other_languages_go() -> None:
    """They are counted by language; short ones, tables and what has no other language stay."""
    table = "Total | 10 000 000 | 9 000 000 | 8 000 000 | 7 500 000 | 6 000 000 | 5 500 000 | 4 000 000"
    text = "\n\n".join([FRENCH, ENGLISH, "The end.", table, OCCITAN, FRENCH])
    passed = run_steps([LanguageParagraphs()], batch_of(text, FRENCH, ENGLISH))
    assert passed.texts == ["\n\n".join([FRENCH, "The end.", table, FRENCH]), FRENCH]
    assert passed.counts[0].counts == {"en": 2, "oc": 1}
    assert passed.counts[0].reasons == {"empty": 1}
    kept = run_steps([LanguageParagraphs(keep=("fr", "oc"))], batch_of(text))
    assert OCCITAN in kept.texts[0]


def test_a_code_that_the_model_lacks_is_refused() -> None:
    """Or every document would go. What is near is named."""
    with pytest.raises(ValidationError, match=r"found 'fra'; .* such as fr,"):
        Language(keep=("fra",))
    with pytest.raises(ValidationError, match="found 'french'"):
        LanguageParagraphs(keep=("oc", "french"))
