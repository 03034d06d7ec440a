"""`rollouts.jsonl` through crashes."""

from __future__ import annotations

from pathlib import Path

from clapas.tune.grpo.rollout_log import ROLLOUTS, RolloutLine, RolloutLog


def line(step: int, member: int) -> str:
    """A rollout of a step."""
    rewards = {"math": 1.0}
    return RolloutLine(step, 7, "a:7", member, "Cela\nfait 5.", rewards, 1.0, 0.5, 4, False).to_json().decode()


def test_a_resume_cuts_at_the_checkpoints_step(tmp_path: Path) -> None:
    """What was logged after it is made again; so is a line that a crash cut short."""
    log = RolloutLog(tmp_path, 0)
    for step in (1, 2, 3):
        log.append([line(step, 0), line(step, 1)])
    path = tmp_path / ROLLOUTS
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    RolloutLog(tmp_path, 3)
    assert path.read_text().splitlines() == [
        line(step, member).rstrip() for step, member in ((1, 0), (1, 1), (2, 0), (2, 1), (3, 0))
    ]
    again = RolloutLog(tmp_path, 2)
    again.append([line(3, 0), line(3, 1)])
    assert path.read_bytes() == whole
