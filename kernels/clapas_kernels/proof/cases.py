"""What the proof measures: cases, each one launch of one operation in one direction at one shape.

A case is a function that makes the inputs and says how to launch and what the launch must move at least. It is
written once and used twice: the traffic meter runs it in the interpreter, the static meter records its launches and
compiles them for each target. It stands in `clapas_kernels/proof/operations/<operation>.py`, which is found by its
name:

    @case("swiglu", "backward", shapes=[{"tokens": 64, "intermediate": 5632}], ratio_at_most=1.00)
    def swiglu_backward(tokens: int, intermediate: int) -> Launch:
        '''Reads grad, gate, up; writes d_gate, d_up: five tensors of tokens x intermediate in bf16.'''
        grad, gate, up = (random(tokens, intermediate) for _ in range(3))
        return Launch(
            lambda: swiglu_backward_triton(grad, gate, up),
            inputs=(grad, gate, up),
            minimal_bytes=5 * tokens * intermediate * 2,
        )

What the launch calls is the function that is registered as the operation's Triton implementation, with all that
stands around its kernels (allocations, sums of partial results): what it does in ATen is counted too. It must read no
tensor's value (`.item()`), for the static meter does not run the kernels, and choose its launch by
`clapas_kernels.target.target_of` alone.

Rows and programs. A kernel that deals rows to about two programs a multiprocessor pays a fixed price a program (its
partial sums), so its ratio depends on rows per program. 16,384 rows on 132 multiprocessors are too slow to interpret;
496 rows on 4 have the same ratio: pass `multiprocessors=4`, and the launch sees a target with that many. Else as
few rows as show the ratio: the first case of each operation is interpreted at each run of the tests.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clapas_kernels.target import TARGETS


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of an operation's Triton implementation.

    call: launches; returns the outputs.
    inputs: every tensor that it may read. They must not be written, unless they are also in `written`.
    minimal_bytes: each input read once and each output written once, derived by hand in the case's docstring.
    written: inputs that the operation updates in place (an optimizer's states).
    """

    call: Callable[[], object]
    inputs: Sequence[Tensor]
    minimal_bytes: int
    written: Sequence[Tensor] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """An operation in one direction at one shape, and what is claimed of it.

    make: the inputs and the launch, made anew at each call.
    ratio_at_most: modelled DRAM bytes over `minimal_bytes`.
    occupancy_at_least: the share of a multiprocessor's threads that can be resident, of every kernel on every target.
    wide_at_least: the share of bulk accesses' bytes that 128 bits wide ones move, of every kernel on every target.
    multiprocessors: how many the launch is to see in the interpreter; None: as many as the target has.
    targets: names of those that have the operation.
    """

    operation: str
    direction: str
    shape: dict[str, int]
    make: Callable[[], Launch]
    ratio_at_most: float
    occupancy_at_least: float
    wide_at_least: float
    multiprocessors: int | None
    targets: tuple[str, ...] = tuple(TARGETS)

    @property
    def name(self) -> str:
        """Unique, and stable over time: the key of the golden file."""
        sizes = ",".join(f"{name}={size}" for name, size in self.shape.items())
        return f"{self.operation} {self.direction} {sizes}"


_cases: dict[str, Case] = {}


def case(
    operation: str,
    direction: str,
    shapes: Sequence[dict[str, int]],
    ratio_at_most: float,
    occupancy_at_least: float = 0.0,
    wide_at_least: float = 1.0,
    multiprocessors: int | None = None,
    targets: Sequence[str] = tuple(TARGETS),
) -> Callable[[Callable[..., Launch]], Callable[..., Launch]]:
    """Register a case for each shape: the decorated function takes the shape's sizes by name and returns a `Launch`."""

    def register(make: Callable[..., Launch]) -> Callable[..., Launch]:
        for shape in shapes:
            made = Case(
                operation,
                direction,
                shape,
                lambda shape=shape: make(**shape),
                ratio_at_most,
                occupancy_at_least,
                wide_at_least,
                multiprocessors,
                tuple(targets),
            )
            if made.name in _cases:
                raise ValueError(f"two cases are named {made.name!r}: give one another shape")
            _cases[made.name] = made
        return make

    return register


def all_cases() -> list[Case]:
    """Every case of every operation, in the order of their names."""
    from clapas_kernels.proof import operations

    for module in pkgutil.iter_modules(operations.__path__):
        importlib.import_module(f"{operations.__name__}.{module.name}")
    return [_cases[name] for name in sorted(_cases)]


def quick_cases() -> list[Case]:
    """The first case of each operation: what is proven at each run of the tests, in seconds."""
    all_cases()
    first = {found.operation: found for found in reversed(_cases.values())}
    return sorted(first.values(), key=lambda found: found.name)


def random(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """A tensor of normal numbers, the same at each call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
