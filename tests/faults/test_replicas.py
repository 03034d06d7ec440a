"""A bit that differs between two copies of the weights ends the run, with its rank and its parameter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clapas.engine.replicas import as_floats, bit_sum, odd_ones
from clapas.ledger.ledger import read_ledger
from commands import Clapas
from faults.faulty_runs import run_with_fault

EVERY_2 = "faults.compare_every=2"


def flip(rank: int, step: int, integers: str) -> str:
    """The lowest bit of one element of the first norm, on one rank, before a step."""
    weight = "dict(run.engine.deepspeed.module.named_parameters())['model.layers.0.input_layernorm.weight']"
    return f"step == {step} and RANK == {rank} and {weight}.data.view(torch.{integers})[5].bitwise_xor_(1)"


LAYOUT = (EVERY_2, "checkpoint={every: 2, asynchronous: false}")


def test_a_flipped_bit_is_found(test_data: Path, tmp_path: Path) -> None:
    """Of two ranks both are named, once, and the evidence names the parameter."""
    given = (*LAYOUT, "parallel.zero_stage=0")
    first, second = run_with_fault(tmp_path, test_data, *given, before_step=flip(1, 4, "int32"))
    assert (first.returncode, second.returncode) == (1, 1), first.stderr + second.stderr
    assert "at step 4 copies of the same weights differ: rank 0 (host " in first.stderr
    assert "found:   other bits in model.layers.0.input_layernorm.weight\n" in first.stderr
    assert "without a majority" in first.stderr
    assert "copies of the same weights" not in second.stderr
    (event,) = [event for event in read_ledger(tmp_path / "run") if event["event"] == "replicas_differ"]
    assert (event["step"], event["ranks"]) == (4, [0, 1])


@pytest.mark.slow
def test_the_run_goes_on_after_its_last_checkpoint(test_data: Path, tmp_path: Path) -> None:
    """In bf16 at ZeRO-1: the step that found the difference saved nothing."""
    given = (*LAYOUT, "parallel.zero_stage=1", "precision=bf16")
    first, _ = run_with_fault(tmp_path, test_data, *given, before_step=flip(0, 4, "int16"))
    assert first.returncode == 1
    assert "at step 4 copies of the same weights differ: rank 0 (host " in first.stderr
    again = run_with_fault(tmp_path, test_data, *given)
    assert [ended.returncode for ended in again] == [0, 0], again[0].stderr
    assert "resuming after step 2" in again[0].stderr


@pytest.mark.slow
def test_of_three_ranks_the_odd_one_is_named(test_data: Path, tmp_path: Path) -> None:
    """The majority is right."""
    layout = (EVERY_2, "parallel.zero_stage=0", "train.global_batch_size=6")
    first, *_ = run_with_fault(tmp_path, test_data, *layout, before_step=flip(2, 3, "int32"), ranks=3)
    assert first.returncode == 1
    assert "at step 4 copies of the same weights differ: rank 2 (host " in first.stderr
    assert "wanted:  those of most copies" in first.stderr


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["parallel.zero_stage=2", "parallel.tensor=2"])
def test_equal_copies_are_equal(clapas: Clapas, test_data: Path, tmp_path: Path, layout: str) -> None:
    """Compared at every step: two data ranks, and two copies of two tensor ranks each."""
    overrides = (
        f"data.path={test_data}",
        "run_dir=run",
        "train.steps=4",
        "schedule.warmup_steps=1",
    )
    ranks = 4 if "tensor" in layout else 2
    result = clapas("train", "test", *overrides, layout, "faults.compare_every=1", "--nproc", ranks, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_nothing_to_compare_is_refused(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """At ZeRO-3, by name."""
    result = clapas("train", "test", f"data.path={test_data}", EVERY_2, "parallel.zero_stage=3", cwd=tmp_path)
    assert result.returncode == 2
    assert "command line: faults.compare_every: found 2; must be null with parallel.zero_stage: 3" in result.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_every_single_bit_counts(dtype: torch.dtype) -> None:
    """Each bit of an element, in whatever dtype."""
    tensor = torch.randn(7, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    before = int(bit_sum(tensor))
    for bit in range(8 * tensor.element_size() - 1):
        changed = tensor.clone()
        changed.view(integers)[4, 1].bitwise_xor_(1 << bit)
        assert int(bit_sum(changed)) != before
    assert int(bit_sum(-tensor)) != before


def test_sums_travel_exactly() -> None:
    """As two float64."""
    for number in (-1, 0, 2**63 - 1, -(2**63), 2**53 + 1):
        high, low = as_floats(number)
        assert (int(high) * 2**32 + int(low) - number) % 2**64 == 0


@pytest.mark.parametrize(
    ("held", "odd"),
    [("aaa", []), ("aab", [2]), ("ab", [0, 1]), ("abab", [0, 1, 2, 3]), ("abaca", [1, 3]), ("a", [])],
)
def test_who_is_the_odd_one(held: str, odd: list[int]) -> None:
    """Whoever is not with the majority."""
    assert odd_ones(dict(enumerate(held))) == odd
