"""Items prepared ahead come in order, never too many at once, with their exceptions, and end when told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count, islice

import pytest

from clapas.loader.prefetch import Prefetch


def test_items_come_in_order_and_end() -> None:
    """As from the iterable itself."""
    with Prefetch(range(100), ahead=3) as items:
        assert list(items) == list(range(100))


def test_the_thread_stays_a_few_items_ahead() -> None:
    """Once it waits for room: those asked for, `ahead` in the queue, one in its hands."""
    made: list[int] = []
    waiting = threading.Event()

    def items() -> Iterator[int]:
        for number in count():
            made.append(number)
            if number == 1 + 2:
                waiting.set()
            yield number

    with Prefetch(items(), ahead=2) as ahead:
        assert next(iter(ahead)) == 0
        assert waiting.wait(timeout=10)
    assert len(made) <= 1 + 2 + 2


def test_an_exception_comes_where_the_item_would_have() -> None:
    """After the items before it, and the thread has ended."""

    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("broken")

    with Prefetch(items(), ahead=8) as ahead:
        found = iter(ahead)
        assert [next(found), next(found)] == [1, 2]
        with pytest.raises(KeyError, match="broken"):
            next(found)
    assert all(thread.name != "prefetch" for thread in threading.enumerate())


def test_closing_ends_the_thread_that_waits_for_room() -> None:
    """An endless iterable, a full queue, a consumer that has enough; closing twice is no mistake."""
    ahead = Prefetch(count(), ahead=1)
    assert list(islice(ahead, 3)) == [0, 1, 2]
    ahead.close()
    ahead.close()
    assert list(ahead) == []
    assert all(thread.name != "prefetch" for thread in threading.enumerate())
