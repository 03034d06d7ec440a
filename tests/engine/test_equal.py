"""Every layout trains as one rank without ZeRO does: the same losses and gradient norms, in fp32, over 20 steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clapas.ledger.ledger import read_json_lines
from commands import Clapas

TOLERANCE = 1e-5
"""Relative; what is left is the order in which fp32 numbers are added up."""
COMMON = ("train.threads=1", "evaluation.every=100", "checkpoint.every=100")

LAYOUTS: dict[str, tuple[int, str]] = {
    "2 ranks, ZeRO-0": (2, "parallel.zero_stage=0"),
    "2 ranks, ZeRO-1": (2, "parallel.zero_stage=1"),
    "2 ranks, ZeRO-2, 2 micro-batches": (2, "parallel.zero_stage=2 train.micro_batch_size=2"),
    "2 ranks, ZeRO-3": (2, "parallel.zero_stage=3"),
    "2 ranks, ZeRO-1 offload": (2, "parallel.zero_stage=1 parallel.offload=cpu"),
    "2 ranks, ZeRO-3 offload": (2, "parallel.zero_stage=3 parallel.offload=cpu parallel.offload_parameters=true"),
    "4 ranks, ZeRO-1": (4, "parallel.zero_stage=1"),
    "4 ranks, ZeRO-2": (4, "parallel.zero_stage=2"),
    "4 ranks, ZeRO-3": (4, "parallel.zero_stage=3"),
    "4 ranks, ZeRO-3 hpZ": (4, "parallel.zero_stage=3 parallel.hpz=2"),
    "2 tensor ranks, ZeRO-0": (2, "parallel.tensor=2 parallel.zero_stage=0"),
    "2 tensor ranks, ZeRO-1": (2, "parallel.tensor=2 parallel.zero_stage=1"),
    "2 tensor ranks, ZeRO-2, 2 micro-batches": (2, "parallel.tensor=2 parallel.zero_stage=2 train.micro_batch_size=4"),
    "2 tensor ranks, ZeRO-3": (2, "parallel.tensor=2 parallel.zero_stage=3"),
    "2 data x 2 tensor ranks, ZeRO-1": (4, "parallel.tensor=2 parallel.zero_stage=1"),
    "2 data x 2 tensor ranks, ZeRO-3": (4, "parallel.tensor=2 parallel.zero_stage=3"),
    "2 sequence ranks, ZeRO-0": (2, "parallel.sequence=2 parallel.zero_stage=0"),
    "2 sequence ranks, ZeRO-1": (2, "parallel.sequence=2 parallel.zero_stage=1"),
    "2 sequence ranks, ZeRO-2, 2 micro-batches": (
        2,
        "parallel.sequence=2 parallel.zero_stage=2 train.micro_batch_size=4",
    ),
    "2 sequence ranks, ZeRO-3": (2, "parallel.sequence=2 parallel.zero_stage=3"),
    "2 data x 2 sequence ranks, ZeRO-2": (4, "parallel.sequence=2 parallel.zero_stage=2"),
    "2 data x 2 sequence ranks, ZeRO-3": (4, "parallel.sequence=2 parallel.zero_stage=3"),
}
"""Name -> ranks, and the recipe's overrides."""
QUICK = {
    "2 ranks, ZeRO-2, 2 micro-batches",
    "2 ranks, ZeRO-3",
    "2 ranks, ZeRO-1 offload",
    "2 tensor ranks, ZeRO-1",
    "2 sequence ranks, ZeRO-3",
}
"""What runs in the default tests: of every kind one layout at least, each of two ranks."""


def losses(run: Path) -> list[tuple[float, float]]:
    """(loss, gradient norm) of each step."""
    rows = [row for row in read_json_lines(run / "metrics.jsonl") if "split" not in row]
    return [(row["loss"], row["grad_norm"]) for row in rows]


@pytest.fixture(scope="session")
def one_rank(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas, test_data: Path) -> list[tuple[float, float]]:
    """The reference: one rank, no ZeRO, the whole batch at once."""
    folder = tmp_path_factory.mktemp("one_rank")
    train(clapas, test_data, folder, 1, "parallel.zero_stage=0")
    return losses(folder / "run")


def train(clapas: Clapas, data: Path, folder: Path, ranks: int, overrides: str) -> None:
    """20 steps of the test recipe."""
    shared: tuple[Any, ...] = ("train", "test", f"data.path={data}", "run_dir=run", *COMMON)
    result = clapas(*shared, *overrides.split(), "--nproc", ranks, cwd=folder)
    assert result.returncode == 0, result.stderr


def _marked(name: str) -> Any:
    return name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("layout", [_marked(name) for name in LAYOUTS])
def test_a_layout_trains_as_one_rank_does(
    clapas: Clapas, test_data: Path, tmp_path: Path, one_rank: list[tuple[float, float]], layout: str
) -> None:
    """Loss and gradient norm of each of 20 steps, to 1e-5."""
    train(clapas, test_data, tmp_path, *LAYOUTS[layout])
    found = losses(tmp_path / "run")
    assert len(found) == len(one_rank) == 20
    for step, (row, wanted) in enumerate(zip(found, one_rank, strict=True), start=1):
        assert row == pytest.approx(wanted, rel=TOLERANCE), f"step {step}"


VARIANTS: dict[str, tuple[str, int, str]] = {
    "qwen3 with document masks, 2 tensor ranks": (
        "model.architecture=qwen3 data.document_mask=true",
        2,
        "parallel.tensor=2 parallel.zero_stage=2",
    ),
    "qwen3 with document masks, 2 sequence ranks": (
        "model.architecture=qwen3 data.document_mask=true",
        2,
        "parallel.sequence=2 parallel.zero_stage=3",
    ),
    "qwen2, whose biases are cut with their matrices, 2 tensor ranks": (
        "model.architecture=qwen2",
        2,
        "parallel.tensor=2 parallel.zero_stage=1",
    ),
    "experts, whose balance is a sum over the text, 2 sequence ranks": (
        "model.architecture=qwen3_moe model.num_experts=4 model.num_experts_per_tok=2 model.moe_intermediate_size=32 "
        "model.router_aux_loss_coef=0.05",
        2,
        "parallel.sequence=2",
    ),
    "layers computed again, 2 tensor ranks": ("compute.activation_checkpointing=full", 2, "parallel.tensor=2"),
    "products held, 2 sequence ranks": ("compute.activation_checkpointing=selective", 2, "parallel.sequence=2"),
    "2 tensor x 2 sequence ranks": ("model.num_key_value_heads=4", 4, "parallel.tensor=2 parallel.sequence=2"),
    "4 sequence ranks": ("model.num_key_value_heads=4", 4, "parallel.sequence=4 parallel.zero_stage=2"),
    "offload, 2 tensor ranks": ("train.threads=1", 2, "parallel.tensor=2 parallel.offload=cpu"),
}
"""Name -> the recipe's overrides, and the ranks and overrides of the layout."""
STEADY = "model.initializer_range=0.05"
"""With the small default some of these recipes blow rounding up, in data ranks too: see docs/decisions/050."""


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_other_recipes_train_in_layouts_as_one_rank_does(
    clapas: Clapas, test_data: Path, tmp_path: Path, variant: str
) -> None:
    """Loss and gradient norm of each of 20 steps, to 1e-5."""
    recipe, ranks, layout = VARIANTS[variant]
    for name, count, overrides in (("one", 1, "parallel.zero_stage=0"), ("many", ranks, layout)):
        (tmp_path / name).mkdir()
        train(clapas, test_data, tmp_path / name, count, f"{recipe} {STEADY} {overrides}")
    for row, wanted in zip(losses(tmp_path / "many/run"), losses(tmp_path / "one/run"), strict=True):
        assert row == pytest.approx(wanted, rel=TOLERANCE)
