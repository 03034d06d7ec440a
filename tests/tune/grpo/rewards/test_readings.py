"""A number is the same number however French or English hands write it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clapas.tune.grpo.rewards.readings import numbers_in, readings

SPACES = ("\u00a0", "\u202f", "\u2009", " ")
MINUSES = ("-", "\u2212", "\u2013")


def grouped(number: int, separator: str) -> str:
    """Digits in threes."""
    return f"{number:,}".replace(",", separator)


@given(
    whole=st.integers(0, 10**12),
    decimals=st.text("0123456789", max_size=6),
    minus=st.sampled_from(("", *MINUSES)),
    thousands=st.sampled_from(("", *SPACES)),
    unit=st.sampled_from(("", " €", "\u00a0km", " pommes", "°", " m", ".")),
    dress=st.sampled_from(("{}", "${}$", "\\({}\\)", "**{}**", "x = {}", "≈ {}", "\\text{{}}{}")),
)
def test_french_numbers(whole: int, decimals: str, minus: str, thousands: str, unit: str, dress: str) -> None:
    """A decimal comma, threes apart by any kind of space, any minus, a unit, LaTeX or Markdown around it."""
    value = Fraction(f"{whole}.{decimals or 0}") * (-1 if minus else 1)
    written = f"{minus}{grouped(whole, thousands)}{',' + decimals if decimals else ''}{unit}"
    assert value in readings(dress.format(written))


@given(
    whole=st.integers(0, 10**12),
    decimals=st.text("0123456789", max_size=6),
    thousands=st.sampled_from(("", ",", " ", "'")),
)
def test_english_numbers(whole: int, decimals: str, thousands: str) -> None:
    """A decimal point, threes apart by commas, spaces or Swiss apostrophes."""
    value = Fraction(f"{whole}.{decimals or 0}")
    assert value in readings(f"{grouped(whole, thousands)}{'.' + decimals if decimals else ''}")


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from(("", *SPACES)))
def test_different_whole_numbers_are_never_taken_for_each_other(one: int, other: int, thousands: str) -> None:
    """Without a comma or a point there is one reading."""
    assert bool(readings(grouped(one, thousands)) & readings(str(other))) == (one == other)


@given(top=st.integers(-999, 999), bottom=st.integers(2, 999), dress=st.sampled_from(("{0}/{1}", "{0} / {1}")))
def test_fractions(top: int, bottom: int, dress: str) -> None:
    """Equal to their lowest terms, unless they come out whole: then they were not computed."""
    value = Fraction(top, bottom)
    expected = frozenset() if value.denominator == 1 else frozenset([value])
    assert readings(dress.format(top, bottom)) == expected
    if top >= 0:
        assert readings(f"\\frac{{{top}}}{{{bottom}}}") == expected


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    """A model writes anything."""
    readings(text)
    assert all(
        readings(number) or "/" in number or "^" in number or "e" in number.lower() for number in numbers_in(text)
    )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,234", {Fraction(1234), Fraction("1.234")}),  # English thousands, or a French decimal
        ("1.234.567,8", {Fraction("1234567.8")}),
        ("1,234,567.8", {Fraction("1234567.8")}),
        ("3,141 592 65", {Fraction("3.14159265")}),
        ("50 %", {Fraction(50), Fraction(1, 2)}),
        ("50 pour cent", {Fraction(50), Fraction(1, 2)}),
        ("½", {Fraction(1, 2)}),
        ("3½", {Fraction(7, 2)}),
        ("1 1/2", {Fraction(3, 2)}),
        ("-1 1/2", {Fraction(-3, 2)}),
        ("\\dfrac12", {Fraction(1, 2)}),
        ("3{,}5", {Fraction(7, 2)}),
        ("1\\,234", {Fraction(1234)}),
        ("3,2 × 10^4", {Fraction(32000)}),
        ("3,2 \\times 10^{-4}", {Fraction("0.00032")}),
        ("1.5e3", {Fraction(1500)}),
        (",5", {Fraction(1, 2)}),
        ("12 + 30", set()),
        ("84/7", set()),
        ("1/0", set()),
        ("12 34", set()),
        ("12,3,4", set()),
        ("1e999999", set()),
        ("trente", set()),
        ("", set()),
    ],
)
def test_what_a_text_may_mean(text: str, values: set[Fraction]) -> None:
    """Both readings where habits differ, none where it is no number."""
    assert readings(text) == values


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("12 + 30 font 42.", ["12", "+ 30", "42"]),
        ("Il reste 1\u202f234,5 kg et -3 m.", ["1 234,5", "-3"]),
        ("de 10-3", ["10", "3"]),
        ("soit 50 % du tout", ["50 %"]),
        ("x2 et A1", []),
        ("les nombres 3, 4 et 5", ["3", "4", "5"]),
    ],
)
def test_numbers_are_found_in_running_text(text: str, numbers: list[str]) -> None:
    """Each as it is written, in order."""
    assert numbers_in(text) == numbers
