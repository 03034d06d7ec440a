"""Which implementation of an operation runs: its PyTorch reference, or its Triton kernels.

CPU tensors take the reference, tensors on an NVIDIA or AMD accelerator take Triton. `use` says otherwise for a while,
`explain` prints what holds and why.

An operation is registered with PyTorch once, through `register`: one operator for each direction, with both
implementations, what the compiler and fake tensors need, and its gradient. So it is opaque to `torch.compile`, and
selective checkpointing and `opcheck` know it by name (`torch.ops.clapas.<name>`).

An operator costs some 60 us a call on a CPU, in which a small model computes a whole layer. So where `runs_triton` is
False an operation's public function calls its reference as plain PyTorch and not the operator: the reference on a CPU
costs what it would cost written in the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from clapas_kernels.language import IS_INSTALLED, IS_INTERPRETING

Implementation = Literal["reference", "triton"]

NAMESPACE = "clapas"
_library = torch.library.Library(NAMESPACE, "FRAGMENT")
_operations: list[str] = []
_Tell = Callable[[str], tuple[str, str] | None]
_others: dict[str, _Tell] = {}
_forced: Implementation | None = None
"""A global and not a context variable: a backward pass on an accelerator runs in threads of PyTorch's own."""


def runs_triton(tensor: Tensor) -> bool:
    """Whether operations on this tensor run their Triton kernels now.

    Raises RuntimeError where they were asked for by `use` and cannot run.
    """
    if _forced is None:
        return tensor.is_cuda and IS_INSTALLED
    if _forced == "reference" or tensor.is_meta:
        return False
    if reason := _why_not_triton(tensor.device.type):
        raise RuntimeError(f'clapas_kernels.use("triton"): {reason}')
    return True


def forced() -> Implementation | None:
    """What `use` asks for, if anything."""
    return _forced


@contextmanager
def use(implementation: Implementation) -> Iterator[None]:
    """Within, every operation runs this implementation, in all threads; also the backward passes that run within.

    "triton" on CPU tensors needs triton's interpreter: TRITON_INTERPRET=1 before Python starts.
    """
    global _forced
    if implementation not in ("reference", "triton"):
        raise ValueError(f'clapas_kernels.use: found {implementation!r}; must be "reference" or "triton"')
    before, _forced = _forced, implementation
    try:
        yield
    finally:
        _forced = before


def explain() -> None:
    """Print which implementation each operation runs on this machine, and why."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if _forced is not None:
        choice, reason = _forced, f'by clapas_kernels.use("{_forced}")'
    elif device == "cpu":
        choice, reason = "reference", "no accelerator is visible to PyTorch; CPU tensors take the reference"
    elif IS_INSTALLED:
        choice, reason = "triton", f"on {torch.cuda.get_device_name()}; CPU tensors take the reference"
    else:
        choice, reason = "reference", _why_not_triton(device)
    told = dict.fromkeys(_operations, (choice, reason))
    told |= {name: said for name, tell in _others.items() if (said := tell(device))}
    width = max(map(len, told))
    for name, (choice, reason) in told.items():
        print(f"{name:{width}}  {choice:9}  {reason}")


def explained_by(*names: str) -> Callable[[_Tell], _Tell]:
    """Have `explain` tell of these what is not so of all: (device) -> (implementation, why), or None where it is."""

    def register_other(tell: _Tell) -> _Tell:
        _others.update(dict.fromkeys(names, tell))
        return tell

    return register_other


def _why_not_triton(device: str) -> str | None:
    if not IS_INSTALLED:
        return "triton is not installed (pip install triton; Linux only)"
    if device == "cpu" and not IS_INTERPRETING:
        return "CPU tensors run Triton in its interpreter only: set TRITON_INTERPRET=1 before Python starts"
    return None


def register(
    schema: str,
    *,
    reference: Callable[..., Any],
    triton: Callable[..., Any],
    fake: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
) -> Callable[..., Any]:
    """Register an operator with PyTorch and return it.

    schema: its name, arguments (the first a tensor) and results, in PyTorch's language of schemas.
    reference, triton: called with the operator's arguments. Results alias neither each other nor an argument, and
    have the strides that `fake` gives them.
    fake: makes empty results: shapes, dtypes and strides without values.
    backward, setup_context: as `torch.library.register_autograd` takes them; None for an operator that is itself a
    gradient.
    """
    name = schema.partition("(")[0]
    if not name.endswith("_backward"):
        _operations.append(name)

    def run(first: Tensor, *others: Any) -> Any:
        if not runs_triton(first):
            return reference(first, *others)
        if not first.is_cuda:
            return triton(first, *others)
        with torch.cuda.device(first.device):  # triton launches on the current device, whatever its arguments
            return triton(first, *others)

    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=_library)
    if backward is not None:
        torch.library.register_autograd(f"{NAMESPACE}::{name}", backward, setup_context=setup_context, lib=_library)
    return getattr(getattr(torch.ops, NAMESPACE), name).default


def save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """A `setup_context` for an operator of tensors alone, whose gradient reads them all."""
    ctx.save_for_backward(*inputs)
