"""What a row of a real run holds, and that it is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clapas.ledger.ledger import NOT_MEASURED, read_json_lines, read_ledger, sum_ledger
from clapas.train.telemetry.columns import COLUMNS, column_of, columns_table
from clapas.train.telemetry.time_split import IN_STEP, PARTS
from commands import Clapas

ROOT = Path(__file__).parents[3]

OF_OBJECTIVES = (
    *("accuracy", "reward", "logps/", "kl", "nll_loss", "log_odds_", "entropy", "clip_ratio"),
    *("completion_length", "truncated", "sampling_difference"),
)
"""What the columns begin with that fine-tuning alone writes; their tests look at them (tests/tune)."""


@pytest.fixture(scope="module")
def rows(told_run: Path) -> list[dict[str, Any]]:
    """The rows of the run's steps."""
    return [row for row in read_json_lines(told_run / "metrics.jsonl") if "split" not in row]


def test_every_key_is_documented(told_run: Path) -> None:
    """Each key of each row is a column, and docs/telemetry.md holds the table of all columns."""
    unknown = {key for row in read_json_lines(told_run / "metrics.jsonl") for key in row if column_of(key) is None}
    assert unknown == set()
    assert columns_table() in (ROOT / "docs/telemetry.md").read_text()


def test_every_documented_key_is_there(rows: list[dict[str, Any]], told_run: Path) -> None:
    """Those aside that need fp16, groups of learning rates, sources with losses of their own, or another objective."""
    keys = {key for row in read_json_lines(told_run / "metrics.jsonl") for key in row}
    seen = {column.key for key in keys if (column := column_of(key)) is not None}
    of_objectives = {key for column in COLUMNS if (key := column.key).startswith(OF_OBJECTIVES)}
    assert {column.key for column in COLUMNS} - seen <= {"learning_rate/*", "loss/*", "loss_scale"} | of_objectives


def test_the_parts_of_a_step_add_up(trained_run: Path) -> None:
    """On one rank the parts and the rest are the step's time (of several ranks they are means)."""
    for row in read_json_lines(trained_run / "metrics.jsonl"):
        if "split" not in row:
            total = sum(row[f"time/{part}"] for part in (*IN_STEP, "other"))
            assert total == pytest.approx(row["step_seconds"], rel=1e-6)


def test_ranks_wait_for_each_other_and_for_checkpoints(rows: list[dict[str, Any]]) -> None:
    """Two ranks communicate in every step; a checkpoint's time is told with the row after it."""
    for row in rows:
        assert all(row[f"time/{part}"] >= 0 for part in PARTS)
        assert row["time/forward"] > 0
        assert row["time/communication"] > 0
    assert rows[3]["time/checkpoint"] > 0
    assert rows[2]["time/checkpoint"] == 0


def test_gradient_norms_of_the_parts_add_up_to_the_whole(rows: list[dict[str, Any]]) -> None:
    """The root of the sum of their squares is `grad_norm`; the head is tied."""
    for row in rows:
        parts = {key: value for key, value in row.items() if key.startswith("grad_norm/")}
        assert set(parts) == {f"grad_norm/{group}" for group in ("embedding", "attention", "mlp", "norms")}
        assert sum(value**2 for value in parts.values()) ** 0.5 == pytest.approx(row["grad_norm"], rel=1e-6)


def test_norms_are_measured_on_demand(rows: list[dict[str, Any]]) -> None:
    """Weights and activations at every second step; a norm layer's weights begin at one."""
    for row in rows:
        kinds = {key.partition("/")[0] for key in row}
        assert ({"weight_norm", "activation_rms"} <= kinds) == (row["step"] % 2 == 0)
    assert rows[1]["weight_norm/norms"] == pytest.approx((5 * 64) ** 0.5, rel=1e-2)
    assert rows[1]["activation_rms/norms"] == pytest.approx(1.0, rel=0.1)


def test_speed_a_rank_and_utilisation(rows: list[dict[str, Any]]) -> None:
    """Two ranks; nothing is recomputed, so the hardware does what the model needs."""
    for row in rows:
        assert row["tokens_per_second_per_gpu"] == pytest.approx(row["tokens_per_second"] / 2)
        assert row["hfu"] == pytest.approx(row["mfu"])
        assert row["slowest_rank"] in (0, 1)
        assert 1e7 < row["memory_reserved_bytes"] <= row["memory_peak_bytes"] < 1e10


def test_energy_is_a_number_with_its_boundary_or_not_measured(rows: list[dict[str, Any]], told_run: Path) -> None:
    """The row and the ledger agree."""
    totals = sum_ledger(read_ledger(told_run))
    if rows[-1]["energy_joules"] is None:
        assert (totals.energy_joules, totals.energy_boundary) == (NOT_MEASURED, None)
    else:
        assert totals.energy_joules == pytest.approx(rows[-1]["energy_joules"], rel=0.5)
        assert totals.energy_boundary


@pytest.mark.parametrize(
    ("layout", "nproc"),
    [
        (("parallel.zero_stage=0",), 1),
        (("parallel.zero_stage=0", "precision=bf16"), 1),
        (("parallel.zero_stage=1", "precision=bf16"), 2),
        (("parallel.zero_stage=3",), 2),
    ],
)
def test_norms_are_the_same_however_the_model_is_spread(
    clapas: Clapas, test_data: Path, tmp_path: Path, rows: list[dict[str, Any]], layout: tuple[str, ...], nproc: int
) -> None:
    """Each layout of DeepSpeed's partitions gives the norms of the parts that ZeRO-1 on two ranks gives."""
    more = (
        "train.steps=2",
        "schedule.warmup_steps=1",
        "evaluation.every=100",
        "telemetry.norms_every=2",
    )
    overrides = (f"data.path={test_data}", "run_dir=run", *more, *layout)
    result = clapas("train", "test", *overrides, "--nproc", nproc, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    row = next(row for row in read_json_lines(tmp_path / "run/metrics.jsonl") if "split" not in row)
    tolerance = 2e-2 if "precision=bf16" in layout else 1e-4
    for key in (key for key in row if key.startswith("grad_norm/")):
        assert row[key] == pytest.approx(rows[0][key], rel=tolerance), key
    assert any(key.startswith("grad_norm/") for key in row)
