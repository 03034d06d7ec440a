"""The learning rate is a function of the step."""

from __future__ import annotations

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


def test_without_warmup_the_first_step_counts() -> None:
    """No step is wasted at a rate of zero."""
    assert factors(ScheduleConfig(name="wsd", warmup_steps=0), 10)[0] == 1.0


def test_only_a_stable_wsd_run_may_be_extended() -> None:
    """Otherwise the steps done had other learning rates than the longer run's."""
    wsd = ScheduleConfig(name="wsd", decay_ratio=0.2)
    assert may_extend(wsd, done=80, old_total=100, new_total=200)
    assert not may_extend(wsd, done=81, old_total=100, new_total=200)
    assert not may_extend(wsd, done=50, old_total=100, new_total=60)
    cosine = ScheduleConfig(name="cosine")
    assert not may_extend(cosine, done=10, old_total=100, new_total=200)
    assert may_extend(cosine, done=10, old_total=100, new_total=100)
