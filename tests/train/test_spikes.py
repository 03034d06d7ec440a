"""Spikes: what is one, what is none, and how long a run acts upon them."""

from __future__ import annotations

import math
import random

import pytest

from clapas.train.faults_config import SpikeConfig
from clapas.train.spikes import SpikeWatch


def watch_after(losses: list[float], norms: list[float] | None = None, **config: object) -> SpikeWatch:
    """A watch that has seen these sound steps."""
    watch = SpikeWatch(SpikeConfig.model_validate({"window": 32, **config}))
    for loss, norm in zip(losses, norms or [1.0] * len(losses), strict=True):
        watch.take(loss, norm)
    return watch


def noisy(count: int, middle: float, spread: float) -> list[float]:
    """Values around a middle, always the same."""
    source = random.Random(0)
    return [source.gauss(middle, spread) for _ in range(count)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_a_spike_from_the_first_step_on(value: float) -> None:
    """Loss or gradient norm, also without a threshold."""
    watch = watch_after([], threshold=None)
    assert watch.fault(value, 1.0) == f"loss {value}"
    assert watch.fault(3.0, value) == f"gradient norm {value}"
    assert watch.fault(3.0, 1.0) is None


def test_far_above_the_steps_before_is_a_spike() -> None:
    """Twelve robust deviations; below, or far under the median, is none."""
    watch = watch_after(noisy(32, 3.0, 0.1), noisy(32, 0.5, 0.02))
    assert watch.fault(3.5, 0.6) is None
    assert watch.fault(0.1, 0.001) is None
    assert "loss 5, where 2.961 ± 0.12 is usual" in (watch.fault(5.0, 0.6) or "")
    assert "gradient norm 4, where 0.4" in (watch.fault(3.5, 4.0) or "")
    assert watch_after(noisy(32, 3.0, 0.1), threshold=None).fault(50.0, 1.0) is None


def test_nothing_is_far_above_too_few_steps() -> None:
    """Half a window must have been seen."""
    assert watch_after([3.0] * 15).fault(50.0, 1.0) is None
    assert watch_after([3.0] * 16).fault(50.0, 1.0) is not None


def test_a_loss_that_hardly_moves_is_no_reason_for_alarm() -> None:
    """Equal losses have no deviation at all: 1 % of the median is reckoned with."""
    watch = watch_after([2.0] * 32)
    assert watch.fault(2.2, 1.0) is None
    assert watch.fault(2.3, 1.0) is not None


def test_a_spike_let_through_does_not_hide_the_next() -> None:
    """A mean with standard deviations would reckon with 100 from then on."""
    watch = watch_after([*noisy(31, 3.0, 0.1), 1000.0])
    assert watch.fault(6.0, 1.0) is not None


def test_the_steps_before_are_the_last_of_them() -> None:
    """A loss that falls is measured against what it was lately."""
    watch = watch_after([10.0] * 32 + noisy(32, 3.0, 0.1))
    assert watch.fault(8.0, 1.0) is not None


def test_a_step_that_overflowed_fp16_has_no_norm_to_judge() -> None:
    """Its loss is judged all the same."""
    watch = watch_after([3.0] * 32)
    assert watch.fault(3.0, None) is None
    assert watch.fault(9.0, None) is not None
    watch.take(3.0, None)


def test_it_acts_so_often_until_a_window_of_steps_was_sound() -> None:
    """Every other step a spike: the run ends all the same."""
    watch = watch_after([3.0] * 32, retries=2)
    watch.act()
    for _ in range(31):
        watch.take(3.0, 1.0)
    assert not watch.is_exhausted
    watch.act()
    assert watch.is_exhausted
    for _ in range(32):
        watch.take(3.0, 1.0)
    assert not watch.is_exhausted


def test_a_resumed_watch_goes_on_as_the_first_would() -> None:
    """Through the checkpoint's JSON."""
    first = watch_after(noisy(50, 3.0, 0.1), noisy(50, 0.5, 0.02))
    first.act()
    second = SpikeWatch(first.config)
    second.restore(first.state)
    for loss in noisy(60, 3.0, 1.0):
        assert first.fault(loss, 0.5) == second.fault(loss, 0.5)
        first.take(loss, 0.5)
        second.take(loss, 0.5)
    assert first.state == second.state
