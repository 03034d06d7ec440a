"""Clean text is uniform, and cleaning loses nothing that a reader sees."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clapas_data.clean import clean

CASES = {
    "e\u0301te\u0301": "été",
    "a\r\nb\rc\u2028d": "a\nb\nc\nd",
    "\ufeffmot\u00adif\u200b\x07": "motif",
    "fin  \n\n\n\n\nsuite\t\n": "fin\n\nsuite",
    "« L'œuvre\u00a0»\u202f! 👩\u200d🔬": "« L'œuvre\u00a0»\u202f! 👩\u200d🔬",
    " \n\t ": "",
    "un \u202efdp.exe\u202c et \u202ddeux\u202c": "un fdp.exe et deux",
    "le mot \u2067שלום\u2069 et \u200fسلام\u200e": "le mot \u2067שלום\u2069 et \u200fسلام\u200e",
    "می\u200cخواهم क्\u200dष": "می\u200cخواهم क्\u200dष",
    "a\U000e0069\U000e0067b": "ab",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f oc": (
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f oc"
    ),
    "z\u200b\u2060\ufeff\u2063éro": "zéro",
}


@pytest.mark.parametrize("text", CASES)
def test_cases(text: str) -> None:
    """One kind of line end, no controls; typography and ligatures stay."""
    assert clean(text) == CASES[text]


@given(st.text())
def test_cleaning_is_stable(text: str) -> None:
    """Clean text is NFC, and cleaning it again changes nothing."""
    once = clean(text)
    assert unicodedata.is_normalized("NFC", once)
    assert clean(once) == once


@given(st.text(st.characters(categories=["L", "N", "P"])))
def test_visible_characters_stay(text: str) -> None:
    """Letters, digits and punctuation come out as they went in, but for their normal form."""
    assert clean(text) == unicodedata.normalize("NFC", text)
