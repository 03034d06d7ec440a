"""What every operation promises, as tests that an operation gets by describing itself.

    class TestSwiglu(Contract):
        operation = Operation(function=swiglu, formula=lambda gate, up: F.silu(gate) * up, make=..., sizes=...)

Each promise is tested on the reference and on the Triton kernels, which run in triton's interpreter with the semantics
of a GPU. The formula is written apart from both and differentiated by PyTorch, in fp64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from clapas_kernels import use
from clapas_kernels.dispatch import NAMESPACE
from clapas_kernels.proof.interpreter import overflow_checked, repaired
from clapas_kernels.proof.reserved import reserved
from clapas_kernels.proof.traffic import Traffic
from clapas_kernels.target import TARGETS, assume

Results = Sequence[Tensor]
Sizes = Mapping[str, int]

ERROR_AT_MOST = 1.1
"""Relative to the error of the fp64 result rounded once (16 bits), or to the reference's error (fp32)."""
DTYPES = (torch.float32, torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow))
MULTIPROCESSORS = 2
"""What launches see in these tests: few, so that a program has several rows."""


@dataclass(frozen=True)
class Operation:
    """How an operation is called, and what it should give.

    function: the public function, of the tensors that `make` makes; a tensor or several.
    formula: the same in plain PyTorch, of fp64 tensors.
    make: tensors of these sizes, floating ones in fp32, from a generator.
    accurate: sizes at which the error is measured: enough numbers for it to be steady.
    odd: sizes that are no powers of two, and one row.
    empty: sizes without a row.
    tiny: sizes for numerical differentiation.
    without_gradient: the places of inputs that have none.
    roundings: how many roundings to the inputs' 16-bit dtype stand between inputs and results, one after another, by
    implementation. Independent errors of the same relative size add up as their squares do: n of them are sqrt(n) of
    one.
    largest_error: of result number i or of the gradient of input number i ("output 0", "gradient 1"), where it is not
    that of one rounding: (dtype, inputs in fp64) to the Frobenius norm of the error that is allowed beside that of
    one rounding. Derived where it is given.
    """

    function: Callable[..., Tensor | tuple[Tensor, ...]]
    formula: Callable[..., Tensor | tuple[Tensor, ...]]
    make: Callable[[Sizes, torch.Generator], Results]
    accurate: Sizes
    odd: Sequence[Sizes]
    empty: Sizes
    tiny: Sizes
    without_gradient: Sequence[int] = ()
    roundings: Mapping[str, int] = field(default_factory=lambda: {"reference": 1, "triton": 1})
    largest_error: Mapping[str, Callable[[torch.dtype, Results, Results], float]] = field(default_factory=dict)

    def inputs(self, sizes: Sizes, dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
        """What `make` makes, in `dtype`; floating tensors want a gradient, but for those without."""
        made = self.make(sizes, torch.Generator().manual_seed(seed))
        typed = [x.to(dtype) if x.is_floating_point() else x for x in made]
        wants = [x.is_floating_point() and place not in self.without_gradient for place, x in enumerate(typed)]
        return [x.requires_grad_(is_wanted) for x, is_wanted in zip(typed, wants, strict=True)]


def error_of_sum(products_TE: Tensor, roundings: int, dtype: torch.dtype) -> float:
    """What a sum over T of products may err by, beside the rounding of the result; Frobenius norm over E.

    A sum of T products in fp32, each of up to seven roundings (three products, four ulps of an inverse root), errs by
    at most (T + 6) u times the sum of the absolute products (Higham, 2002, section 4.2), u = 2^-24. Where `roundings`
    factors were first rounded to a 16-bit dtype, each product errs by that many times its u more, independently of the
    others: such errors add up as their squares do, to at most u times the norm of all products.
    """
    products_TE = products_TE.detach()
    in_fp32 = (len(products_TE) + 6) * 2.0**-24 * float(products_TE.abs().sum(0).norm())
    return in_fp32 + roundings * torch.finfo(dtype).eps / 2 * float(products_TE.norm())


def several(results: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Always a tuple."""
    return results if isinstance(results, tuple) else (results,)


def upstream(results: Results, seed: int = 1) -> list[Tensor]:
    """Gradients of the results: normal numbers in the results' dtypes."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(result.shape, generator=generator).to(result.dtype) for result in results]


def wanting(inputs: Results) -> list[Tensor]:
    """The inputs that want a gradient."""
    return [x for x in inputs if x.requires_grad]


def run(function: Callable[..., Any], inputs: Results, grads: Results | None = None) -> tuple[Results, Results]:
    """The results, and the gradients of the inputs that want one."""
    results = several(function(*inputs))
    grads = upstream(results) if grads is None else grads
    for x in wanting(inputs):
        x.grad = None
    torch.autograd.backward(results, grads)  # reentrant checkpoints know no `torch.autograd.grad`
    return [x.detach() for x in results], [cast(Tensor, x.grad) for x in wanting(inputs)]


def named(results: Results, grads: Results) -> dict[str, Tensor]:
    """By "output 0", … and "gradient 0", …, where inputs without a gradient do not count."""
    outputs = {f"output {number}": x for number, x in enumerate(results)}
    return outputs | {f"gradient {number}": x for number, x in enumerate(grads)}


def all_of(function: Callable[..., Any], inputs: Results, grads: Results | None = None) -> dict[str, Tensor]:
    """`run`, by name."""
    return named(*run(function, inputs, grads))


def assert_bit_equal(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """The same names, dtypes, shapes and bits; no NaN."""
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        assert tensor.dtype == wanted[name].dtype, name
        assert torch.equal(tensor, wanted[name]), name


def apart(tensor: Tensor, gap: int) -> Tensor:
    """A copy whose rows, along the last dimension, stand `gap` elements apart, which hold NaN."""
    if tensor.ndim < 2:
        return tensor
    wide = torch.full((*tensor.shape[:-1], tensor.shape[-1] + gap), -1 if tensor.dtype == torch.int64 else torch.nan)
    rows = wide.to(tensor.dtype)[..., : tensor.shape[-1]]
    rows.copy_(tensor.detach())
    return rows.requires_grad_(tensor.requires_grad)


def far_apart(tensor: Tensor) -> Tensor:
    """A copy whose last row begins past element 2^31, in memory that is reserved and not touched."""
    rows = 0 if tensor.ndim < 2 else tensor.numel() // max(tensor.shape[-1], 1)
    if rows < 2 or not tensor.is_floating_point():
        return tensor
    stride = 16 * (2**31 // (rows - 1) // 16 + 1)
    spread = reserved(*tensor.shape[:-1], stride, dtype=tensor.dtype)[..., : tensor.shape[-1]]
    return spread.copy_(tensor.detach()).requires_grad_(tensor.requires_grad)


class Operators(TorchDispatchMode):
    """Our operators as they are called, with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == NAMESPACE:
            self.calls.append((func, args))
        return func(*args, **(kwargs or {}))


@contextmanager
def poisoned() -> Iterator[None]:
    """Uninitialised memory holds NaN, or the largest integer."""
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)


class Contract:
    """The tests. A subclass gives `operation`."""

    operation: Operation

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_errors_are_those_of_one_rounding(self, implementation: str, dtype: torch.dtype) -> None:
        """Results and gradients against the formula in fp64, on the very inputs that the operation reads."""
        operation = self.operation
        inputs = operation.inputs(operation.accurate, dtype)
        results, grads = run(operation.function, inputs)
        given = upstream(results)
        exact_inputs = [_exact(x) for x in inputs]
        exact_grads = [g.double() for g in given]
        exact = all_of(operation.formula, exact_inputs, exact_grads)
        with use("reference"):
            reference = all_of(operation.function, inputs, given)
        for name, found in named(results, grads).items():
            rounds = found.dtype != torch.float32
            nearest = (exact[name].to(found.dtype) if rounds else reference[name]).double()
            times = operation.roundings[implementation] ** 0.5 if rounds else 1.0
            allowed = ERROR_AT_MOST * times * float((nearest - exact[name]).norm())
            if name in operation.largest_error:
                allowed += operation.largest_error[name](dtype, exact_inputs, exact_grads)
            error = float((found.double() - exact[name]).norm())
            assert error <= allowed, f"{name}: {error / allowed:.3f} of what is allowed"

    def test_odd_sizes(self, implementation: str) -> None:
        """In fp64 nothing hides behind rounding: sizes that fill no block, and a single row."""
        for sizes in self.operation.odd:
            inputs = self.operation.inputs(sizes, torch.float64)
            found = all_of(self.operation.function, inputs)
            for name, wanted in all_of(self.operation.formula, inputs).items():
                torch.testing.assert_close(found[name], wanted, rtol=1e-6, atol=1e-6, check_dtype=False, msg=name)

    def test_no_rows(self, implementation: str) -> None:
        """An empty input has empty results, and gradients of 0."""
        inputs = self.operation.inputs(self.operation.empty, torch.bfloat16)
        wanted = all_of(self.operation.formula, [_exact(x) for x in inputs])
        for name, found in all_of(self.operation.function, inputs).items():
            assert found.shape == wanted[name].shape
            assert not found.any()

    @pytest.mark.parametrize("gap", [3, 16])
    def test_rows_may_stand_apart(self, implementation: str, gap: int) -> None:
        """Strides larger than the row, multiples of 16 or not, of inputs and gradients."""
        inputs = self.operation.inputs(self.operation.odd[0], torch.bfloat16)
        results, _ = run(self.operation.function, inputs)
        grads = upstream(results)
        together = all_of(self.operation.function, inputs, grads)
        spread = all_of(self.operation.function, [apart(x, gap) for x in inputs], [apart(g, gap) for g in grads])
        for name, wanted in together.items():  # sums may be in another order
            torch.testing.assert_close(spread[name], wanted, msg=name)

    def test_nothing_but_the_results_is_written(self, implementation: str) -> None:
        """Every element of the results, whatever the memory held before; no input, nor what stands around it. And no
        two programs meet."""
        inputs = [apart(x, 5) for x in self.operation.inputs(self.operation.odd[0], torch.bfloat16)]
        bases = [cast(Tensor, x if x._base is None else x._base) for x in inputs]
        before = [base.detach().clone() for base in bases]
        plain = all_of(self.operation.function, inputs)
        watched = Traffic(races=True, read_only=inputs) if implementation == "triton" else nullcontext()
        with poisoned(), watched:
            assert_bit_equal(all_of(self.operation.function, inputs), plain)
        for base, copy in zip(bases, before, strict=True):
            torch.testing.assert_close(base.detach(), copy, rtol=0, atol=0, equal_nan=True)

    def test_past_two_billion_elements(self, implementation: str) -> None:
        """Rows so far apart that a place does not fit 32 bits, in inputs and gradients."""
        inputs = self.operation.inputs(self.operation.odd[0], torch.bfloat16)
        results, _ = run(self.operation.function, inputs)
        grads = upstream(results)
        wanted = all_of(self.operation.function, inputs, grads)
        with overflow_checked():  # without, what overflows reads elsewhere, and this process ends
            found = all_of(self.operation.function, [far_apart(x) for x in inputs], [far_apart(g) for g in grads])
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor, msg=name)

    def test_a_gradient_may_be_one_number(self, implementation: str) -> None:
        """That of a sum, which has no strides, as autograd hands it over."""
        inputs = self.operation.inputs(self.operation.odd[0], torch.float32)
        results = several(self.operation.function(*inputs))
        found = torch.autograd.grad(sum((x.sum() for x in results), start=torch.zeros(())), wanting(inputs))
        wanted = torch.autograd.grad(several(self.operation.function(*inputs)), wanting(inputs), _ones(results))
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            torch.testing.assert_close(one, other, msg=f"gradient {number}")

    def test_two_runs_are_bit_equal(self, implementation: str) -> None:
        """Sums are in a fixed order."""
        inputs = self.operation.inputs(self.operation.odd[0], torch.bfloat16)
        assert_bit_equal(all_of(self.operation.function, inputs), all_of(self.operation.function, inputs))

    def test_gradients_are_those_of_the_function(self, implementation: str) -> None:
        """By numerical differentiation, in fp64."""
        inputs = self.operation.inputs(self.operation.tiny, torch.float64)
        assert torch.autograd.gradcheck(self.operation.function, inputs)

    def test_the_compiler_changes_no_bit(self, implementation: str) -> None:
        """Under torch.compile, as one graph."""
        torch.compiler.reset()
        compiled = torch.compile(self.operation.function, backend="aot_eager", fullgraph=True, dynamic=False)
        inputs = self.operation.inputs(self.operation.odd[0], torch.float32)
        assert_bit_equal(all_of(compiled, inputs), all_of(self.operation.function, inputs))

    @pytest.mark.parametrize("kind", ["reentrant", "not reentrant", "selective"])
    def test_checkpointing_changes_no_bit(
        self, implementation: str, kind: Literal["reentrant", "not reentrant", "selective"]
    ) -> None:
        """A forward pass may be run again; and its results kept, operator by operator."""
        arguments: dict[str, Any] = {"use_reentrant": kind == "reentrant"}
        if kind == "selective":
            arguments["context_fn"] = partial(create_selective_checkpoint_contexts, _keep_ours)
        inputs = self.operation.inputs(self.operation.odd[0], torch.float32)
        kept = all_of(partial(checkpoint, self.operation.function, **arguments), inputs)
        assert_bit_equal(kept, all_of(self.operation.function, inputs))

    def test_its_operators_are_what_pytorch_wants(self) -> None:
        """Schemas, fake results, strides and gradients, of each operator that a step calls."""
        inputs = self.operation.inputs(self.operation.odd[0], torch.float32)
        with repaired(), assume(TARGETS["sm_90"], MULTIPROCESSORS), use("triton"):
            with Operators() as seen:
                run(self.operation.function, inputs)
            assert len(seen.calls) >= 2
            for operator, arguments in seen.calls:
                is_forward = not operator._schema.name.endswith("_backward")
                torch.library.opcheck(operator, tuple(_anew(x, is_forward) for x in arguments))


def _exact(x: Tensor) -> Tensor:
    return x.detach().double().requires_grad_(x.requires_grad) if x.is_floating_point() else x


def _ones(results: Results) -> list[Tensor]:
    return [torch.ones_like(result) for result in results]


def _keep_ours(_: Any, operator: Any, *arguments: Any, **named_arguments: Any) -> CheckpointPolicy:
    ours = operator.namespace == NAMESPACE
    return CheckpointPolicy.MUST_SAVE if ours else CheckpointPolicy.PREFER_RECOMPUTE


def _anew(argument: Any, wants_gradient: bool) -> Any:
    if not isinstance(argument, Tensor):
        return argument
    return argument.detach().requires_grad_(wants_gradient and argument.is_floating_point())
