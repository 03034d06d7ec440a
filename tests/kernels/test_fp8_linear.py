"""The fp8 linear: errors within what is derived, the emulation as `torch._scaled_mm`, and a reason for what runs."""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 torch's own name
from torch.utils.checkpoint import checkpoint

from clapas_kernels import AmaxHistory, LinearAmax, explain, fp8_linear, fp8_quantise, fp8_quantise_both, use
from clapas_kernels.fp8_formats import FNUZ, OCP, ROUNDOFF
from clapas_kernels.fp8_linear import _Linear, _say_once, choose, product
from clapas_kernels.proof.interpreter import repaired
from clapas_kernels.target import TARGETS, Target, assume

pytestmark = pytest.mark.slow

fp8_linear_module = sys.modules["clapas_kernels.fp8_linear"]  # the package's name is the function
TOKENS, INPUTS, OUTPUTS = (2, 16), 64, 48


def operands(dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> list[Tensor]:
    """x, the weight and the output's gradient; the first two want a gradient."""
    source = torch.Generator().manual_seed(seed)
    shapes = [(*TOKENS, INPUTS), (OUTPUTS, INPUTS), (*TOKENS, OUTPUTS)]
    x, weight, grad = (torch.randn(shape, generator=source).to(dtype) for shape in shapes)
    return [x.requires_grad_(), weight.requires_grad_(), grad]


def results(amax: LinearAmax | None = None, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> list[Tensor]:
    """y, dx, dW."""
    x, weight, grad = operands(dtype, seed)
    y = fp8_linear(x, weight, amax)
    return [y.detach(), *torch.autograd.grad(y, (x, weight), grad)]


def error_of_product(a: Tensor, b: Tensor, roundoffs: tuple[float, float]) -> float:
    """Of a b^T, Frobenius norm: independent errors of each operand, each at its bound, add up as their squares do."""
    squares = float((a.square() @ b.square().t()).sum())
    of_a, of_b = (roundoff**2 for roundoff in roundoffs)
    return (squares * (of_a + of_b + of_a * of_b)) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_errors_are_those_of_fp8(dtype: torch.dtype) -> None:
    """Of the output and both gradients, against fp64; and by no means those of a product without fp8."""
    x, weight, grad = (tensor.detach().double().flatten(0, -2) for tensor in operands(dtype))
    of_e4m3, of_e5m2 = (ROUNDOFF[format] for format in OCP)
    wanted = {
        "y": (x, weight, of_e4m3, of_e4m3),
        "dx": (grad, weight.t(), of_e5m2, of_e4m3),
        "dW": (grad.t(), x.t(), of_e5m2, of_e4m3),
    }
    for found, (name, (a, b, *roundoffs)) in zip(results(dtype=dtype), wanted.items(), strict=True):
        assert found.dtype == dtype
        exact = a @ b.t()
        rounding = torch.finfo(dtype).eps / 2 * float(exact.norm())
        error = float((found.double().flatten(0, -2) - exact).norm())
        bound = error_of_product(a, b, (roundoffs[0], roundoffs[1])) + rounding
        assert bound / 5 < error < bound, name


@pytest.mark.parametrize("out", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("format", OCP, ids=str)
def test_the_emulation_is_pytorchs_product(format: torch.dtype, out: torch.dtype) -> None:
    """`torch._scaled_mm` runs on a CPU too, which says that it is called as it wants to be."""
    x, weight, _ = operands()
    a, b = fp8_quantise(x.flatten(0, 1), format)[:2], fp8_quantise(weight)[:2]
    ours, theirs = product(a, b, out, is_fused=False), product(a, b, out, is_fused=True)
    torch.testing.assert_close(ours, theirs, rtol=2 * torch.finfo(out).eps, atol=1e-5)


def test_a_step_on_pytorchs_product_is_a_step_of_the_emulation() -> None:
    """Output and gradients."""
    x, weight, grad = operands(torch.float32)
    fused, emulated = (_Linear.apply(x.flatten(0, 1), weight, None, is_fused) for is_fused in (True, False))
    assert isinstance(fused, Tensor)
    assert isinstance(emulated, Tensor)
    torch.testing.assert_close(fused, emulated)
    grads = [torch.autograd.grad(y, (x, weight), grad.flatten(0, 1)) for y in (fused, emulated)]
    torch.testing.assert_close(*grads)


def test_the_kernels_quantise_as_the_reference_does() -> None:
    """So the linear's results are the same bits."""
    for amax in (None, LinearAmax()):
        wanted = results(amax)
        with repaired(), use("triton"):
            for ours, theirs in zip(results(amax), wanted, strict=True):
                assert torch.equal(ours, theirs)


def test_what_is_saved_is_fp8() -> None:
    """A byte a number of x and of the weight."""
    saved: list[Tensor] = []
    x, weight, _ = operands()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        fp8_linear(x, weight)
    assert sum(tensor.nbytes for tensor in saved) == x.numel() + weight.numel() + 2 * 4


@pytest.mark.parametrize(("target", "formats"), [("sm_90", OCP), ("gfx942", FNUZ)])
def test_gradients_have_the_wider_format(
    monkeypatch: pytest.MonkeyPatch, target: str, formats: tuple[torch.dtype, torch.dtype]
) -> None:
    """E5M2; input and weight E4M3; as the accelerator has them."""
    made: list[torch.dtype] = []

    def watched(*arguments: Any) -> tuple[Tensor, ...]:
        quantised = fp8_quantise_both(*arguments)
        made.append(quantised[0].dtype)
        return quantised

    monkeypatch.setattr(fp8_linear_module, "fp8_quantise_both", watched)
    with assume(TARGETS[target]):
        results()
    assert made == [formats[0], formats[0], formats[1]]


def test_each_gradient_alone() -> None:
    """Where the input or the weight wants none."""
    x, weight, grad = operands()
    _, grad_x, grad_weight = results()
    assert torch.equal(torch.autograd.grad(fp8_linear(x, weight.detach()), x, grad)[0], grad_x)
    assert torch.equal(torch.autograd.grad(fp8_linear(x.detach(), weight), weight, grad)[0], grad_weight)


def test_a_wide_weight_has_a_wide_gradient() -> None:
    """fp32 weights, 16-bit activations: quantised from fp32."""
    x, weight, grad = operands()
    wide = weight.detach().float().requires_grad_()
    y = fp8_linear(x, wide)
    grad_x, grad_weight = torch.autograd.grad(y, (x, wide), grad)
    assert (y.dtype, grad_x.dtype, grad_weight.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    assert torch.equal(grad_weight.bfloat16(), results()[2])


def test_two_runs_compilation_and_checkpointing_change_no_bit() -> None:
    torch.compiler.reset()
    compiled = torch.compile(fp8_linear, backend="aot_eager", fullgraph=True, dynamic=False)
    for function in (fp8_linear, compiled, partial(checkpoint, fp8_linear, use_reentrant=False)):
        x, weight, grad = operands()
        y = function(x, weight)
        assert isinstance(y, Tensor)
        for ours, theirs in zip([y, *torch.autograd.grad(y, (x, weight), grad)], results(), strict=True):
            assert torch.equal(ours, theirs)


# What runs, and why


@pytest.mark.parametrize(
    ("shape", "outputs", "dtype", "reason"),
    [
        ((3, 5, 64), 48, torch.bfloat16, "tokens no multiple of 16"),
        ((16, 60), 40, torch.bfloat16, "inputs and outputs no multiple of 16"),
        ((0, 64), 48, torch.bfloat16, "tokens no multiple of 16"),
        ((16, 64), 48, torch.float64, "fp8 is made of 16 or 32 bits, not torch.float64"),
    ],
)
def test_without_fp8_the_plain_linear_runs(
    shape: tuple[int, ...], outputs: int, dtype: torch.dtype, reason: str
) -> None:
    """And says why: the very result of PyTorch's."""
    x, weight = torch.randn(shape).to(dtype), torch.randn(outputs, shape[-1]).to(dtype)
    assert choose(x, weight) == ("plain", reason)
    assert torch.equal(fp8_linear(x, weight), F.linear(x, weight))


def test_an_accelerator_without_fp8_is_named() -> None:
    x, weight, _ = operands()
    for name in ("sm_80", "gfx90a"):
        with assume(TARGETS[name]):
            kernel, reason = choose(x, weight)
            assert kernel == "plain"
            assert reason.startswith(f"{name} has no fp8")
            assert torch.equal(fp8_linear(x, weight), F.linear(x, weight))
    for target in (TARGETS["sm_90"], TARGETS["gfx942"], Target("gfx950", "hip", 256, 64)):
        with assume(target):
            assert choose(x, weight) == ("emulated", "no fp8 products on cpu")
            assert 0.01 < (fp8_linear(x, weight) - F.linear(x, weight)).norm() / F.linear(x, weight).norm() < 0.09


def test_which_one_runs_is_said_once(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """By the first call, with the reason; and by `explain`."""
    _say_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="clapas_kernels"):
        results()
        results()
    assert caplog.messages == ["fp8 linear: emulated (no fp8 products on cpu)"]
    with use("reference"):
        explain()
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("fp8_linear"))
    assert 'emulated   by clapas_kernels.use("reference")' in line


# Delayed scaling


def test_the_first_step_is_scaled_by_its_own_amax() -> None:
    """The next by that of the steps before: the same numbers, the same bits."""
    amax = LinearAmax(2)
    first = results(amax)
    for ours, theirs in zip(first, results(), strict=True):
        assert torch.equal(ours, theirs)
    amax.advance()
    for ours, theirs in zip(results(amax), first, strict=True):
        assert torch.equal(ours, theirs)
    x, weight, grad = operands()
    for history, tensor in ((amax.input, x), (amax.weight, weight), (amax.grad, grad)):
        assert history.amax == tensor.detach().abs().max()


def test_the_scale_stays_within_a_step() -> None:
    """However large a micro-batch is: what is computed again is the same. Its amax counts from the next step on."""
    amax = LinearAmax(2)
    results(amax)
    amax.advance()
    x, weight, _ = operands()
    before = fp8_linear(x, weight, amax)
    assert not torch.equal(fp8_linear(x * 100, weight, amax), before * 100)  # limited to what the last step had
    assert torch.equal(fp8_linear(x, weight, amax), before)
    amax.advance()
    assert amax.input.amax == x.detach().abs().max() * 100


def test_an_amax_is_forgotten_after_its_steps() -> None:
    history = AmaxHistory(2)
    history.advance()
    assert history.amax is None
    for recorded, wanted in [(8.0, 8.0), (1.0, 8.0), (2.0, 2.0), (None, 2.0), (0.5, 2.0), (0.5, 0.5)]:
        if recorded is not None:
            history.record(torch.tensor(recorded / 2))
            history.record(torch.tensor(recorded))
        history.advance()
        assert history.amax == wanted


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_an_overflow_spoils_its_step_alone(bad: float) -> None:
    """It is in that step's output, and in no later scale."""
    amax = LinearAmax(2)
    results(amax)
    amax.advance()
    x, weight, _ = operands()
    overflowed = x.detach().clone()
    overflowed[0, 3, 5] = bad
    y = fp8_linear(overflowed, weight, amax)
    assert y[0, 3].isnan().all()
    assert y.isnan().sum() == OUTPUTS
    amax.advance()
    assert fp8_linear(x, weight, amax).isfinite().all()


def test_the_history_is_checkpointed() -> None:
    """A layer that goes on from a checkpoint computes the bits that it would have computed."""
    layers = [nn.ModuleDict({"amax": LinearAmax(3)}) for _ in range(2)]
    ours, theirs = (layer["amax"] for layer in layers)
    assert isinstance(ours, LinearAmax)
    assert isinstance(theirs, LinearAmax)
    for seed in range(2):
        results(ours, seed=seed)
        ours.advance()
    layers[1].load_state_dict(layers[0].state_dict())
    for one, other in zip(results(ours, seed=2), results(theirs, seed=2), strict=True):
        assert torch.equal(one, other)
    fresh, loaded = AmaxHistory(3), AmaxHistory(3)
    loaded.load_state_dict(fresh.state_dict())
    assert loaded.amax is None
    with pytest.raises(ValueError, match="found length 0; must be at least 1"):
        AmaxHistory(0)
