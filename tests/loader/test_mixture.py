"""The mixture holds at every moment of a run, for every source at once."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clapas.loader.mixture import LONGEST_PERIOD, Mixture, chairmen
from clapas.recipe.errors import UserError

shares = st.lists(st.integers(1, 120), min_size=1, max_size=8)


@given(shares)
def test_every_prefix_is_within_one_sample_of_its_share(shares: list[int]) -> None:
    """Tijdeman's bound, 1 - 1 / (2k - 2), exactly, for every source after every turn."""
    period, count = sum(shares), len(shares)
    bound = 1 - Fraction(1, max(1, 2 * count - 2)) if count > 1 else Fraction(0)
    taken = [0] * count
    for turn, source in enumerate(chairmen(shares), start=1):
        taken[source] += 1
        assert all(abs(taken[s] - Fraction(turn * shares[s], period)) <= bound for s in range(count))
    assert taken == shares


@given(shares, st.integers(0, 10**12))
def test_any_index_is_answered_directly(shares: list[int], start: int) -> None:
    """The draws from `start` on count on from those before it, without walking to it."""
    mixture = Mixture({f"s{number}": share for number, share in enumerate(shares)})
    drawn = {source: mixture.drawn(source, start) for source in mixture.sources}
    for index in range(start, start + 50):
        source, before = mixture(index)
        assert before == drawn[source]
        assert mixture.index_of(source, before) == index
        drawn[source] += 1
    assert drawn == {source: mixture.drawn(source, start + 50) for source in mixture.sources}


def test_weights_are_the_decimals_that_people_write() -> None:
    """0.1 is one tenth, not the binary number next to it; scale does not matter; order of keys does not matter."""
    assert Mixture({"a": 0.7, "b": 0.2, "c": 0.1}).shares == {"a": 7, "b": 2, "c": 1}
    assert Mixture({"c": 10, "b": 20, "a": 70}).shares == {"a": 7, "b": 2, "c": 1}
    assert Mixture({"a": 1, "b": 1, "c": 1}).period == 3


def test_a_pattern_too_long_is_refused() -> None:
    """The message says what to do."""
    with pytest.raises(UserError, match=r"way out: .*round the weights"):
        Mixture({"a": 0.1234567, "b": 1})


def test_the_longest_pattern_works() -> None:
    """65,536 samples: counts before a place must still fit."""
    mixture = Mixture({"a": LONGEST_PERIOD - 1, "b": 1})
    assert mixture.period == LONGEST_PERIOD
    assert mixture.drawn("a", LONGEST_PERIOD) == LONGEST_PERIOD - 1


def test_the_pattern_never_changes_silently() -> None:
    """Golden values, as in test_order."""
    assert chairmen([5, 3, 1]) == [0, 1, 0, 1, 0, 0, 2, 0, 1]
