"""The learning rate is a function of the step."""

from __future__ import annotations

from typing import Any

import pytest

from clapas.train.config import ScheduleConfig
from clapas.train.schedule import learning_rate_factor, may_extend


def factors(schedule: ScheduleConfig, total: int) -> list[float]:
    return [learning_rate_factor(schedule, step, total) for step in range(1, total + 1)]


def test_cosine_warms_up_and_ends_at_its_floor() -> None:
    """Linear to 1 at the last warm-up step, then monotone down to min_lr_ratio at the last step."""
    values = factors(ScheduleConfig(name="cosine", warmup_steps=4, min_lr_ratio=0.1), 20)
    assert values[:4] == [0.25, 0.5, 0.75, 1.0]
    assert values[3:] == sorted(values[3:], reverse=True)
    assert values[-1] == pytest.approx(0.1)
    assert values[11] == pytest.approx(0.55)  # halfway down


def test_wsd_is_stable_then_linear() -> None:
    """Decay takes the last decay_ratio of the run."""
    values = factors(ScheduleConfig(name="wsd", warmup_steps=2, min_lr_ratio=0.0, decay_ratio=0.25), 20)
    assert values[1:15] == [1.0] * 14
    assert values[15:] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])


def test_wsd_along_one_minus_sqrt_falls_fast_first() -> None:
    """1 - sqrt(progress) down to the floor (Hägele et al., 2024)."""
    values = factors(ScheduleConfig(name="wsd", min_lr_ratio=0.2, decay_ratio=0.5, decay_shape="1-sqrt"), 8)
    assert values == pytest.approx([1, 1, 1, 1, 0.6, 1 - 0.8 * 0.5**0.5, 1 - 0.8 * 0.75**0.5, 0.2])


def test_linear_goes_straight_down() -> None:
    """From the end of the warm-up to the floor at the last step."""
    values = factors(ScheduleConfig(name="linear", warmup_steps=2, min_lr_ratio=0.0), 6)
    assert values == pytest.approx([0.5, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_constant_and_inverse_sqrt() -> None:
    """After the warm-up: 1, and sqrt(warmup / step); both whatever the length of the run."""
    constant = ScheduleConfig(name="constant", warmup_steps=2)
    assert factors(constant, 5) == [0.5, 1.0, 1.0, 1.0, 1.0]
    inverse = ScheduleConfig(name="inverse_sqrt", warmup_steps=4)
    values = factors(inverse, 16)
    assert values[:4] == [0.25, 0.5, 0.75, 1.0]
    assert values[15] == pytest.approx(0.5)
    assert values == factors(inverse, 100)[:16]


def test_a_warmup_has_one_unit() -> None:
    """Steps and tokens at once are refused; tokens are steps only in a run, which knows how many it reads."""
    with pytest.raises(ValueError, match="in tokens"):
        factors(ScheduleConfig(name="constant", warmup_tokens=1000), 5)
    with pytest.raises(ValueError, match="both given"):
        ScheduleConfig(warmup_steps=1, warmup_tokens=1)


@pytest.mark.parametrize(
    ("name", "option"),
    [("cosine", "decay_ratio"), ("linear", "decay_shape"), ("constant", "min_lr_ratio"), ("constant", "decay_ratio")],
)
def test_an_option_of_another_schedule_is_refused_by_name(name: str, option: str) -> None:
    """Never silently ignored."""
    value = "1-sqrt" if option == "decay_shape" else 0.3
    with pytest.raises(ValueError, match=f"{option}: has no meaning with name: {name}; it belongs to .*wsd"):
        ScheduleConfig.model_validate({"name": name, option: value})


def test_a_resolved_schedule_says_its_defaults() -> None:
    """What acts is written down, and what has no meaning is not."""
    assert ScheduleConfig(name="wsd").decay_ratio == 0.2
    assert ScheduleConfig().min_lr_ratio == 0.1
    assert ScheduleConfig(name="constant").min_lr_ratio is None


def test_without_warmup_the_first_step_counts() -> None:
    """No step is wasted at a rate of zero."""
    assert factors(ScheduleConfig(name="wsd", warmup_steps=0), 10)[0] == 1.0


@pytest.mark.parametrize("name", ["constant", "inverse_sqrt"])
def test_a_schedule_without_an_end_may_always_be_extended(name: Any) -> None:
    """Longer or shorter, but never shorter than what is done."""
    schedule = ScheduleConfig(name=name, warmup_steps=3)
    assert may_extend(schedule, done=100, old_total=100, new_total=200)
    assert may_extend(schedule, done=50, old_total=100, new_total=50)
    assert not may_extend(schedule, done=51, old_total=100, new_total=50)


def test_only_a_stable_wsd_run_may_be_extended() -> None:
    """Otherwise the steps done had other learning rates than the longer run's."""
    wsd = ScheduleConfig(name="wsd", decay_ratio=0.2)
    assert may_extend(wsd, done=80, old_total=100, new_total=200)
    assert not may_extend(wsd, done=81, old_total=100, new_total=200)
    assert not may_extend(wsd, done=50, old_total=100, new_total=60)
    cosine = ScheduleConfig(name="cosine")
    assert not may_extend(cosine, done=10, old_total=100, new_total=200)
    assert may_extend(cosine, done=10, old_total=100, new_total=100)
    linear = ScheduleConfig(name="linear", warmup_steps=5)
    assert not may_extend(linear, done=10, old_total=100, new_total=200)
    assert may_extend(linear, done=5, old_total=100, new_total=200)  # its warm-up does not know the length
