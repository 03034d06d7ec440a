"""AdamW's step on flat shards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clapas_kernels import adamw_step, use
from clapas_kernels.proof.interpreter import only_programs, repaired
from clapas_kernels.proof.reserved import reserved
from clapas_kernels.proof.traffic import Traffic
from clapas_kernels.stochastic_rounding import random_words, round_stochastically

FACTORS: dict[str, Any] = {"lr": 0.01, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
ALL_BF16 = (torch.bfloat16,) * 4
SEED = 2**40 + 12_345
PLACE = 2**33 + 5
"""Of a shard's first element, past 32 bits."""


def states(size: int, dtypes: tuple[torch.dtype, ...] = (torch.float32,) * 4, seed: int = 0) -> list[Tensor]:
    """parameter, gradient and both moments, the second of which is positive."""
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(size, generator=generator) for _ in range(4)]
    made[3] = made[3].square() * 0.01
    return [x.to(dtype) for x, dtype in zip(made, dtypes, strict=True)]


def steps_of_torch(parameter: Tensor, grads: list[Tensor], fused: bool) -> tuple[Tensor, Tensor, Tensor]:
    """parameter and both moments, by torch's own AdamW."""
    parameter = parameter.clone().requires_grad_()
    optimizer = torch.optim.AdamW([parameter], **FACTORS, foreach=False, fused=fused)
    for grad in grads:
        parameter.grad = grad.to(parameter.dtype)
        optimizer.step()
    state = optimizer.state[parameter]
    return parameter.detach(), state["exp_avg"], state["exp_avg_sq"]


@pytest.mark.parametrize("size", [1, 7, 1000, 1027])
def test_in_fp32_it_is_torchs_adamw(implementation: str, size: int) -> None:
    """From the first step on, for five: bit-equal in the reference, and to the rounding of some operations in the
    kernel, which orders them otherwise."""
    grads = [states(size, seed=seed)[1] for seed in range(5)]
    parameter, first, second = states(size)[0], torch.zeros(size), torch.zeros(size)
    wanted = steps_of_torch(parameter, grads, fused=False)
    for step, grad in enumerate(grads, start=1):
        adamw_step(parameter, grad, first, second, step=step, **FACTORS)
    for found, exact in zip((parameter, first, second), wanted, strict=True):
        if implementation == "reference":
            assert torch.equal(found, exact)
        else:
            torch.testing.assert_close(found, exact, rtol=2e-6, atol=1e-7)


def test_in_fp32_it_is_as_exact_as_torchs(implementation: str) -> None:
    """Against fp64, five steps, from the same fp32 numbers."""
    grads = [states(3000, seed=seed)[1] for seed in range(5)]
    parameter, first, second = states(3000)[0], torch.zeros(3000), torch.zeros(3000)
    exact, torchs = (steps_of_torch(parameter.to(dtype), grads, False)[0] for dtype in (torch.float64, torch.float32))
    for step, grad in enumerate(grads, start=1):
        adamw_step(parameter, grad, first, second, step=step, **FACTORS)
    assert (parameter - exact).norm() <= 1.1 * (torchs - exact).norm()


def test_each_state_in_bf16_is_rounded_once(implementation: str) -> None:
    """From the same bf16 numbers, against fp64: the error of rounding the result to the nearest."""
    parameter, grad, first, second = states(4000, ALL_BF16)
    exact = [x.double() for x in (parameter, first, second)]
    exact[1].lerp_(grad.double(), 1 - 0.9)
    exact[2].mul_(0.95).addcmul_(grad.double(), grad.double(), value=1 - 0.95)
    denominator = (exact[2] / (1 - 0.95**3)).sqrt() + FACTORS["eps"]
    exact[0].mul_(1 - 0.01 * 0.1).addcdiv_(exact[1], denominator, value=-0.01 / (1 - 0.9**3))
    adamw_step(parameter, grad, first, second, step=3, **FACTORS)
    for found, wanted in zip((parameter, first, second), exact, strict=True):
        assert (found.double() - wanted).norm() <= 1.1 * (wanted.bfloat16().double() - wanted).norm()


@pytest.mark.parametrize(
    "dtypes", [ALL_BF16, (torch.bfloat16, torch.bfloat16, torch.float32, torch.float32)], ids=["all", "parameters"]
)
def test_both_implementations_round_by_the_same_bits(dtypes: tuple[torch.dtype, ...]) -> None:
    """What they differ by in fp32 crosses a threshold of rounding once in some ten thousand times."""
    found = []
    for implementation in ("reference", "triton"):
        tensors = states(3000, dtypes)
        with repaired(), use(implementation):
            adamw_step(*tensors, step=7, **FACTORS, seed=SEED, first=PLACE)
        found.append(tensors)
    for x, y in zip(*found, strict=True):
        assert int(((x - y).abs() > 1e-6 * y.abs() + 1e-7).sum()) <= 3


def test_shards_round_as_the_whole(implementation: str) -> None:
    """At any place: a run on other ranks has the same bits. And another step or seed has others."""

    def stepped(pieces: list[slice], step: int = 2, seed: int = SEED) -> Tensor:
        tensors = states(2500, ALL_BF16)
        for piece in pieces:
            shard = [x[piece].contiguous() for x in tensors]
            adamw_step(*shard, step=step, **FACTORS, seed=seed, first=PLACE + piece.start)
            for x, part in zip(tensors, shard, strict=True):
                x[piece] = part
        return torch.cat([tensors[0], tensors[2], tensors[3]])

    whole = stepped([slice(0, 2500)])
    assert torch.equal(stepped([slice(0, 777), slice(777, 1800), slice(1800, 2500)]), whole)
    assert not torch.equal(stepped([slice(0, 2500)], seed=SEED + 2**33), whole)
    assert not torch.equal(stepped([slice(0, 2500)], step=3), stepped([slice(0, 2500)], step=2))


def test_the_second_moment_falls_in_bf16_only_with_stochastic_rounding(implementation: str) -> None:
    """Where gradients vanish v = 0.999^t: rounded to the nearest it stays at 1 for ever."""
    found: dict[int | None, float] = {}
    factors: dict[str, Any] = {**FACTORS, "betas": (0.9, 0.999)}
    for seed in (None, SEED):
        parameter, grad, first, second = (torch.full((1000,), x).bfloat16() for x in (0.0, 0.0, 0.0, 1.0))
        for step in range(1, 21):
            adamw_step(parameter, grad, first, second, step=step, **factors, seed=seed)
        found[seed] = float(second.double().mean())
    assert found[None] == 1.0
    assert found[SEED] == pytest.approx(0.999**20, abs=0.001)


def test_nothing_else_is_written(implementation: str) -> None:
    """Neither the gradient nor what stands beside a shard, whose first element lies anywhere."""
    tensors = [torch.cat([torch.full((3,), 9.0), x, torch.full((5,), 9.0)]) for x in states(1021)]
    kept = tensors[1].clone()
    shards = [x[3:-5] for x in tensors]
    expected = [x.clone() for x in shards]
    adamw_step(*shards, step=1, **FACTORS)
    with repaired(), use("reference"):
        adamw_step(*expected, step=1, **FACTORS)
    assert torch.equal(tensors[1], kept)
    for x, shard, wanted in zip(tensors, shards, expected, strict=True):
        assert (torch.cat([x[:3], x[-5:]]) == 9).all()
        torch.testing.assert_close(shard, wanted, rtol=2e-6, atol=1e-7)


def test_an_empty_shard(implementation: str) -> None:
    """As the last of many ranks may have."""
    adamw_step(*states(0), step=1, **FACTORS, seed=SEED)


def test_programs_do_not_meet() -> None:
    """Nor does one read what it has written."""
    tensors = states(3003, ALL_BF16)
    with use("triton"), Traffic(races=True, read_only=[tensors[1]]) as traffic:
        adamw_step(*tensors, step=1, **FACTORS, seed=SEED)
    assert traffic.total("dram") == 3003 * 14


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, g, m, v: (p, g[1:], m, v), r"found grad of shape \(3,\) .*; all must be flat, contiguous"),
        (lambda p, g, m, v: (p[::2], g[::2], m[::2], v[::2]), r"found parameter of shape \(2,\) and strides \(2,\)"),
        (lambda p, g, m, v: (p, g, m.half(), v), "found exp_avg in torch.float16; must be torch.float32 or"),
    ],
)
def test_what_is_no_flat_shard_is_refused(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adamw_step(*change(*states(4)), step=1, **FACTORS)
    with pytest.raises(ValueError, match="found step 0; the first is 1"):
        adamw_step(*states(4), step=0, **FACTORS)


def test_the_operator_is_what_pytorch_wants() -> None:
    torch.library.opcheck(torch.ops.clapas.adamw_step.default, (*states(40), 1, 0.01, 0.9, 0.95, 1e-8, 0.1, SEED, 0))


# Stochastic rounding


def test_random_words_are_philox() -> None:
    """Random123's own vectors (kat_vectors), of seven rounds and of ten."""
    vectors = {
        7: [0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48],
        10: [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8],
    }
    for rounds, words in vectors.items():
        assert [int(word) for word in random_words(0, 0, 1, 0, rounds)] == words


def test_rounding_is_right_on_average_and_never_further_than_the_next() -> None:
    """A fifth of the way between two bf16 numbers goes up one time in five, on both sides of 0."""
    count = 2**16
    words = random_words(SEED, 0, count, 1)[0]
    for sign in (1.0, -1.0):
        x = torch.full((count,), sign * (1 + 0.2 * 2**-7))
        rounded = round_stochastically(x, words).float()
        is_up = rounded == sign * (1 + 2**-7)
        assert (is_up | (rounded == sign)).all()
        deviation = (0.2 * 0.8 / count) ** 0.5
        assert abs(float(is_up.double().mean()) - 0.2) < 4 * deviation


def test_what_bf16_holds_is_not_moved() -> None:
    x = torch.tensor([0.0, -0.0, 1.0, -2.5, torch.inf, -torch.inf, torch.nan])
    ones = torch.full((7,), 0xFFFFFFFF)
    assert torch.equal(round_stochastically(x, ones).view(torch.int16), x.bfloat16().view(torch.int16))


def test_shards_past_two_billion_elements() -> None:
    """The last program's elements are where they are, and rounded as these places are."""
    size, last = 2**31 + 2_048, 1_024
    tensors = [reserved(size, dtype=torch.bfloat16) for _ in range(4)]
    for x, values in zip(tensors, states(last, ALL_BF16), strict=True):
        x[-last:] = values
    alone = [x[-last:].clone() for x in tensors]
    with repaired(), use("triton"):
        with only_programs(-1):
            adamw_step(*tensors, step=2, **FACTORS, seed=SEED)
        adamw_step(*alone, step=2, **FACTORS, seed=SEED, first=size - last)
    for x, wanted in zip(tensors, alone, strict=True):
        assert torch.equal(x[-last:], wanted)
    assert alone[0].any()
