"""Each likely cause of a low MFU is named where it holds, and not where it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clapas.train.telemetry.low_mfu import CAUSES, Facts, causes, is_low

GOOD_GPU = Facts(
    device="cuda",
    precision="bf16",
    mfu=0.2,
    shares={"data": 0.001, "communication": 0.05},
    hidden_size=4096,
    micro_batch_tokens=16384,
    document_mask=False,
    could_compile=False,
    activation_checkpointing="selective",
    offloaded=False,
    memory_free=0.1,
    environment={},
)
GOOD_CPU = replace(
    GOOD_GPU, device="cpu", could_compile=True, memory_free=None, threads=4, ranks_here=2, cores=8, load=8.0
)


@pytest.mark.parametrize(
    ("facts", "change", "words"),
    [
        (GOOD_GPU, {"environment": {"CUDA_LAUNCH_BLOCKING": "1"}}, "CUDA_LAUNCH_BLOCKING is set"),
        (GOOD_GPU, {"shares": {"data": 0.2}}, "20% of a step waits for data"),
        (GOOD_GPU, {"precision": "fp32"}, "attention in fp32 has no flash kernel"),
        (GOOD_GPU, {"document_mask": True}, "attention under a document mask"),
        (GOOD_GPU, {"could_compile": True}, "not compiled"),
        (GOOD_GPU, {"micro_batch_tokens": 2048}, "a micro-batch has 2,048 tokens"),
        (GOOD_GPU, {"hidden_size": 512}, "the model is narrow (hidden_size 512"),
        (GOOD_GPU, {"activation_checkpointing": "full", "memory_free": 0.5}, "50% of the GPU's memory was never used"),
        (GOOD_GPU, {"slowest_rank": 3, "slowest_rank_excess": 0.25}, "rank 3 computes 25% longer"),
        (GOOD_GPU, {"shares": {"communication": 0.4}}, "40% of a step waits for other ranks"),
        (GOOD_GPU, {"offloaded": True}, "parallel.offload"),
        (GOOD_CPU, {"threads": 8}, "2 ranks of 8 threads on 8 cores: train.threads=4"),
        (GOOD_CPU, {"threads": 1, "load": 2.0}, "2 of 8 cores are used (OMP_NUM_THREADS or train.threads)"),
        (GOOD_CPU, {"load": 14.0}, "other processes keep about 6 of 8 cores busy"),
    ],
)
def test_a_cause_is_named_alone_and_only_where_it_holds(facts: Facts, change: dict[str, Any], words: str) -> None:
    """One fact makes one cause; without it there is none."""
    assert causes(facts) == []
    (found,) = causes(replace(facts, **change))
    assert words in found


def test_every_cause_is_tested_above() -> None:
    """A new cause needs a line there: two lines are of the attention's, the others of one each."""
    marks: Any = test_a_cause_is_named_alone_and_only_where_it_holds
    assert len(marks.pytestmark[0].args[1]) == len(CAUSES) + 1


def test_what_only_a_gpu_suffers_from_is_not_said_of_a_cpu() -> None:
    """Launch blocking, flash kernels and compilation."""
    blocking = {"CUDA_LAUNCH_BLOCKING": "1"}
    assert causes(replace(GOOD_CPU, environment=blocking, precision="fp32", document_mask=True)) == []


def test_checkpointing_that_saves_what_is_needed_is_no_cause() -> None:
    """Full recomputation on a GPU that is full."""
    assert causes(replace(GOOD_GPU, activation_checkpointing="full", memory_free=0.05)) == []


def test_low_is_by_hardware() -> None:
    """An MFU that is fine for a GPU is low for a CPU's measured peak."""
    assert is_low(replace(GOOD_GPU, mfu=0.29))
    assert not is_low(replace(GOOD_GPU, mfu=0.35))
