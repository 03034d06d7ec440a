"""An epoch's order is a bijection, reached at any place directly, the same on every machine for ever."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clapas.loader.order import Permutation, epoch_key

keys = st.integers(0, 2**64 - 1)


@given(size=st.integers(1, 3000), key=keys)
@example(size=1, key=0)
@example(size=2, key=1)
@example(size=49, key=2)
@example(size=50, key=2)
def test_every_sample_comes_exactly_once(size: int, key: int) -> None:
    """A bijection of `range(size)`, also just above and below squares."""
    permutation = Permutation(size, key)
    assert sorted(map(permutation, range(size))) == list(range(size))
    assert all(permutation.place_of(permutation(place)) == place for place in range(0, size, 1 + size // 100))


@given(size=st.integers(2**20, 2**60), key=keys, data=st.data())
def test_huge_epochs_stay_in_range_and_do_not_collide(size: int, key: int, data: st.DataObject) -> None:
    """No table of 2^60 samples exists: any two places differ, inside the range."""
    permutation = Permutation(size, key)
    first, second = data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=2, unique=True))
    assert 0 <= permutation(first) < size
    assert permutation(first) != permutation(second)
    assert permutation.place_of(permutation(first)) == first


@pytest.mark.parametrize("size", [3, 4, 5, 6])
def test_every_order_is_equally_likely(size: int) -> None:
    """Over 20,000 keys, chi-square of the orders stays within five standard deviations of its mean."""
    draws, orders = 20_000, math.factorial(size)
    seen = Counter(tuple(map(Permutation(size, epoch_key(0, "", epoch)), range(size))) for epoch in range(draws))
    expected = draws / orders
    chi_square = sum((count - expected) ** 2 / expected for count in seen.values()) + (orders - len(seen)) * expected
    assert abs(chi_square - (orders - 1)) < 5 * math.sqrt(2 * (orders - 1))


def test_neighbours_are_not_kept_together() -> None:
    """In a random order of n samples about two neighbours stay neighbours, and none keeps its direction for long."""
    order = [Permutation(10_000, 7)(place) for place in range(10_000)]
    kept = sum(abs(one - other) == 1 for one, other in pairwise(order))
    assert kept < 12  # Poisson with mean 2: less than one in a million


def test_seed_stream_and_epoch_each_change_the_order() -> None:
    """Four keys that differ in one thing each."""
    variants = [epoch_key(1, "law", 0), epoch_key(2, "law", 0), epoch_key(1, "web", 0), epoch_key(1, "law", 1)]
    assert len(set(variants)) == 4


def test_the_order_never_changes_silently() -> None:
    """Golden values. A change here makes every run of the past unresumable: raise ORDER_VERSION with it."""
    assert epoch_key(1234, "law", 2) == 899444741295568737
    assert [Permutation(1000, 42)(place) for place in range(8)] == [356, 945, 425, 709, 557, 206, 578, 921]
    huge = Permutation(488_281_250, epoch_key(1234, "", 0))
    assert [huge(place) for place in (0, 1, 488_281_249)] == [
        142982104,
        270483300,
        212557460,
    ]


@pytest.mark.parametrize("place", [-1, 10])
def test_a_place_outside_the_epoch_is_refused(place: int) -> None:
    """IndexError, as for a list."""
    with pytest.raises(IndexError):
        Permutation(10, 0)(place)


def test_an_empty_epoch_is_refused() -> None:
    """There is no order of nothing to walk to an end in."""
    with pytest.raises(ValueError, match="0 samples"):
        Permutation(0, 0)


@pytest.mark.parametrize("size", [1, 2, 7, 1000, 65_537])
def test_many_places_at_once_are_the_same_places(size: int) -> None:
    """The array's arithmetic, which wraps at 64 bits, is the integers'; at keys that overflow too."""
    for key in (0, 5, 2**64 - 1):
        order = Permutation(size, key)
        assert order.many(0, size).tolist() == [order(place) for place in range(size)]
        assert order.many(size // 2, size).tolist() == [order(place) for place in range(size // 2, size)]
