"""The projection to logits with its loss: chunk by chunk, and never all logits."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clapas_kernels import linear_cross_entropy
from clapas_kernels.cross_entropy_rows import losses_reference, losses_triton, padded
from clapas_kernels.dispatch import runs_triton
from clapas_kernels.linear_cross_entropy import ROWS, in_chunks, rows_that_fit, times_triton
from clapas_kernels.proof.interpreter import only_programs, repaired
from clapas_kernels.proof.operations.linear_cross_entropy import backward_bytes, forward_bytes
from clapas_kernels.proof.reserved import reserved
from kernels.contract import Contract, Operation, Results, Sizes

Z_LOSS = 0.01
IGNORED = -100


def objective(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return linear_cross_entropy(hidden, weight, targets, Z_LOSS)[0]


def formula(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    logits = (hidden @ weight.t()).flatten(0, -2)
    entropies = F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return entropies + Z_LOSS * (logits.logsumexp(-1).square() * (targets.flatten() != IGNORED)).sum()


def make(sizes: Sizes, generator: torch.Generator) -> Results:
    hidden = torch.randn(sizes["rows"], 2, sizes["hidden"], generator=generator)
    weight = torch.randn(sizes["vocabulary"], sizes["hidden"], generator=generator) / sizes["hidden"] ** 0.5
    targets = torch.randint(sizes["vocabulary"], (sizes["rows"], 2), generator=generator)
    targets[1:2] = IGNORED
    return 2 * hidden, weight, targets


class _Errors:
    """Of logits rounded to `dtype`, and of their gradient, to first order. A rounding error is at most u of what is
    rounded, u / sqrt(3) in the mean square; they are independent and add up as their squares do.

    With x the logits, p their softmax and g the gradient: an error d of x moves the objective by g d, and g by
    p (d - sum p d), of which the second part is no larger than the first; then g is rounded.
    """

    def __init__(self, dtype: torch.dtype, inputs: Results) -> None:
        hidden, weight, targets = (x.detach() for x in inputs)
        self.hidden, self.weight, is_target = hidden.flatten(0, -2), weight, (targets.flatten() != IGNORED)[:, None]
        self.unit = torch.finfo(dtype).eps / 2 / 3**0.5
        self.x = self.hidden @ self.weight.t()
        self.p = self.x.softmax(-1) * is_target
        at_target = F.one_hot(targets.flatten().clamp(min=0), self.x.shape[1]) * is_target
        self.g = self.p * (1 + 2 * Z_LOSS * self.x.logsumexp(-1, keepdim=True)) - at_target

    def of_gradient(self, factor: Tensor, matrix: Tensor, transposed: bool) -> float:
        """Of g matrix, or of g^T matrix, times the upstream gradient."""
        squares = 2 * (self.p * self.x).square(), self.g.square()
        sizes = matrix.square().sum(-1)
        sums = (((one.t() if transposed else one) @ sizes).sum().sqrt() for one in squares)
        return self.unit * abs(float(factor)) * float(sum(sums))


def error_of_objective(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
    """Of the logits, and of the sum in fp32, its summands' exp and log included: four units of the sum."""
    errors = _Errors(dtype, inputs)
    return errors.unit * float((errors.x * errors.g).norm()) + 4 * 2.0**-24 * float(formula(*inputs).detach())


def error_of_hidden(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
    errors = _Errors(dtype, inputs)
    return errors.of_gradient(grads[0], errors.weight, transposed=False)


def error_of_weight(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
    errors = _Errors(dtype, inputs)
    return errors.of_gradient(grads[0], errors.hidden, transposed=True)


class Watched(TorchDispatchMode):
    """How many bytes the largest result of any operator holds, and the operators' names."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self.called: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        self.called.append(func._schema.name.removeprefix("aten::") + f".{func._overloadname}")
        sizes = (x.untyped_storage().nbytes() for x in tree_leaves(results) if isinstance(x, Tensor))
        self.largest = max(self.largest, *sizes, 0)
        return results


class TestLinearCrossEntropy(Contract):
    operation = Operation(
        function=objective,
        formula=formula,
        make=make,
        accurate={"rows": 40, "hidden": 64, "vocabulary": 1000},
        odd=[
            {"rows": 5, "hidden": 20, "vocabulary": 300},
            {"rows": 1, "hidden": 1, "vocabulary": 1},
            {"rows": 3, "hidden": 7, "vocabulary": 130},
        ],
        empty={"rows": 0, "hidden": 8, "vocabulary": 24},
        tiny={"rows": 2, "hidden": 3, "vocabulary": 4},
        roundings={"reference": 2, "triton": 2},  # the product, then the product times the upstream gradient
        largest_error={
            "output 0": error_of_objective,
            "gradient 0": error_of_hidden,
            "gradient 1": error_of_weight,
        },
    )


def inputs_of(dtype: torch.dtype = torch.float32, rows: int = 20) -> list[Tensor]:
    """hidden and weight, which want gradients, and targets."""
    return TestLinearCrossEntropy.operation.inputs({"rows": rows, "hidden": 12, "vocabulary": 37}, dtype)


def chunked(rows: int, inputs: Results, z_loss: float = Z_LOSS) -> tuple[Tensor, ...]:
    """Both gradients too, of chunks of `rows`."""
    hidden, weight, targets = (x.detach() for x in inputs)
    step = losses_triton if runs_triton(hidden) else losses_reference
    return in_chunks(step, hidden, weight, targets, z_loss, True, True, rows)


def test_chunks_change_nothing(implementation: str) -> None:
    """Nor do chunks that do not divide the rows."""
    inputs = inputs_of(torch.float64)
    for found, whole in zip(chunked(7, inputs), chunked(100, inputs), strict=True):
        torch.testing.assert_close(found, whole, rtol=1e-10, atol=1e-12)


def test_the_gradient_of_the_weight_is_summed_in_fp32(implementation: str) -> None:
    """Over 256 chunks of one row each, in bf16: a sum in bf16 would stop growing. Id 2 is never a target."""
    hidden, weight = torch.ones(256, 4).bfloat16(), torch.zeros(3, 4).bfloat16()
    targets = torch.randint(2, (256,), generator=torch.Generator().manual_seed(0))
    *_, grad_weight = chunked(1, (hidden, weight, targets), z_loss=0.0)
    assert grad_weight.dtype == torch.float32
    torch.testing.assert_close(grad_weight[2], torch.full((4,), 256 / 3), rtol=2**-8, atol=0)


def test_an_accelerator_adds_products_of_16_bits_to_fp32_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another tensor of the weight's size: PyTorch's overloads for it exist, as its meta device knows them.
    Before PyTorch 2.10 the product stands beside the sum."""
    module = sys.modules["clapas_kernels.linear_cross_entropy"]
    total = torch.empty(6, 4, device="meta")
    left, right = (torch.empty(shape, device="meta", dtype=torch.bfloat16) for shape in ((6, 8), (8, 4)))
    for adds, called in (
        (True, ["mm.dtype_out", "addmm.dtype_out"]),
        (False, ["mm.dtype_out", "mm.dtype", "add_.Tensor"]),
    ):
        monkeypatch.setattr(module, "ADDS_TO_FP32", adds)
        with Watched() as seen:
            module.add_product(total, left, right, is_first=True)
            module.add_product(total, left, right, is_first=False)
        assert seen.called == called


def test_no_tensor_holds_all_logits(implementation: str) -> None:
    """The largest is a chunk of them."""
    hidden, weight, targets = torch.randn(64, 4), torch.randn(300, 4), torch.zeros(64, dtype=torch.int64)
    with Watched() as seen:
        chunked(8, (hidden, weight, targets))
    assert seen.largest == 8 * padded(300) * 4


def test_the_loss_of_each_row(implementation: str) -> None:
    """The cross-entropy alone, without z-loss; 0 where there is no target; no gradient."""
    hidden, weight, targets = inputs_of()
    objective, losses = linear_cross_entropy(hidden, weight, targets)
    exact = F.cross_entropy((hidden @ weight.t()).flatten(0, 1), targets.flatten(), reduction="none")
    torch.testing.assert_close(losses.flatten(), exact, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(objective, losses.sum(), rtol=1e-6, atol=0)
    assert not losses[1].any()
    assert not losses.requires_grad
    assert torch.equal(linear_cross_entropy(hidden, weight, targets, Z_LOSS)[1], losses)


def test_without_targets_the_loss_and_its_gradients_are_zero(implementation: str) -> None:
    hidden, weight, targets = inputs_of(torch.bfloat16)
    objective, losses = linear_cross_entropy(hidden, weight, torch.full_like(targets, IGNORED), Z_LOSS)
    objective.backward()
    assert objective == 0
    for x in (losses, hidden.grad, weight.grad):
        assert x is not None
        assert not x.any()


def test_gradients_accumulate(implementation: str) -> None:
    """Over micro-batches, each with its share of the loss: as over one batch. And a graph may be walked twice."""
    inputs = hidden, weight, targets = inputs_of(torch.float64)
    (objective(*inputs) / 7).backward()
    whole = weight.grad
    weight.grad = None
    for part in (slice(0, 5), slice(5, None)):
        (objective(hidden[part], weight, targets[part]) / 7).backward()
    torch.testing.assert_close(weight.grad, whole)
    kept = objective(*inputs)
    once, twice = (torch.autograd.grad(kept * factor, weight, retain_graph=True)[0] for factor in (1, 2))
    assert torch.equal(2 * once, twice)


def test_what_wants_no_gradient_costs_none(implementation: str) -> None:
    """Frozen weights (a LoRA), frozen hidden states, evaluation: the other gradient is as ever, this one not made."""
    inputs = hidden, weight, targets = inputs_of()
    wanted = torch.autograd.grad(objective(*inputs), (hidden, weight))
    for place in (0, 1):
        partly = [x.detach() if number == place else x for number, x in enumerate(inputs)]
        (found,) = torch.autograd.grad(objective(*partly), inputs[1 - place])
        assert torch.equal(found, wanted[1 - place])
    made = torch.ops.clapas.linear_cross_entropy(hidden.detach(), weight.detach(), targets, 0.0, False, False)
    assert [x.numel() for x in made[2:]] == [0, 0]
    with torch.no_grad():
        assert torch.equal(objective(*inputs), objective(*inputs).detach())


def test_a_second_derivative_is_refused(implementation: str) -> None:
    """The gradients are made in the forward pass: they have none of their own."""
    inputs = inputs_of()
    (grad,) = torch.autograd.grad(objective(*inputs), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, w, t: (h[..., 1:], w, t), r"found hidden \(20, 2, 11\), weight \(37, 12\), .*must be \(..., E\)"),
        (lambda h, w, t: (h, w, t[:, 0]), r"targets \(20,\); must be"),
        (lambda h, w, t: (h.bfloat16(), w, t), "found hidden in torch.bfloat16, weight in torch.float32"),
        (lambda h, w, t: (h, w, t.int()), "targets in torch.int32; must be one floating dtype, and torch.int64"),
    ],
)
def test_what_does_not_go_together_is_refused(change: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        linear_cross_entropy(*change(*inputs_of()))


GB = 2**30


@pytest.mark.parametrize(
    ("vocabulary", "free", "total", "rows"),
    [
        (128_256, 30 * GB, 80 * GB, 8_192),  # 2 GB of logits, of 80
        (128_256, 30 * GB, 40 * GB, 4_096),
        (32_000, 30 * GB, 80 * GB, 32_768),
        (128_256, 1 * GB, 80 * GB, 2_048),  # half a gigabyte is left for them
        (128_256, 0, 80 * GB, 128),
    ],
)
def test_rows_of_a_chunk(vocabulary: int, free: int, total: int, rows: int) -> None:
    """At least 4,096 where they fit."""
    assert rows_that_fit(2 * vocabulary, free, total) == rows


def test_the_modelled_traffic_of_a_large_vocabulary() -> None:
    """16,384 tokens, E = 4,096, V = 128,256, bf16, chunks of 4,096 rows: at most 50 GB. The meter holds the same table
    against what a chunked pass moves (the proof's case "linear_cross_entropy forward")."""
    moved = forward_bytes(16_384, 4_096, 128_256, ROWS, 2) + backward_bytes(16_384, 4_096, 128_256, 2)
    assert moved <= 50e9
    assert moved == pytest.approx(47.95e9, rel=1e-3)


class Kept:
    """A saved tensor, which can be watched."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def test_a_graph_that_is_dropped_frees_its_gradients(implementation: str) -> None:
    """Without a collector: what is saved for the backward pass, as large as the weight, is in no cycle."""
    inputs = inputs_of()
    watched: list[weakref.ref[Kept]] = []

    def keep(tensor: Tensor) -> Kept:
        kept = Kept(tensor)
        watched.append(weakref.ref(kept))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        found = objective(*inputs)
    assert sorted(kept.tensor.numel() for kept in (ref() for ref in watched) if kept) == [37 * 12, 20 * 2 * 12]
    gc.disable()
    try:
        del found
        assert not any(ref() for ref in watched)
    finally:
        gc.enable()


def test_a_weight_past_two_billion_elements() -> None:
    """Its gradient times the upstream one, at the last program."""
    size, last = 2**31 + 2_048, 1_024
    grad_weight = reserved(size, dtype=torch.float32)
    grad_weight[-last:] = torch.arange(last)
    with repaired(), only_programs(-1):
        _, found = times_triton(torch.tensor(2.0), torch.empty(0).bfloat16(), grad_weight)
    assert torch.equal(found[-last:], (2.0 * torch.arange(last)).bfloat16())
