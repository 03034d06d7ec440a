"""SwiGLU, the gated unit of the feed-forward layer (Shazeer, 2020, arXiv:2002.05202), alone and with its projection.

    y = silu(gate) * up,   silu(x) = x sigmoid(x)

With s = sigmoid(gate):

    dgate = dy up s (1 + gate (1 - s));   dup = dy gate s

The kernels compute in fp32, or fp64 for fp64, and round once; the reference is PyTorch's own silu and product, which in
16 bits round each. Three forms:

- `swiglu(gate, up)`: saves gate and up, and no third tensor of their size.
- `packed_swiglu(gate_up)`: gate and up side by side in each row, as one matrix product makes them; so is the gradient.
- `swiglu_linear(gate, up, weight)`: the projection of y. A linear layer saves its input for its weight's gradient: one
  activation of size F a token. Here the backward kernel makes y again while it makes dgate and dup from the same
  loads, so the layer saves gate and up alone. It writes y once more, 2 F bytes a token of bf16, and frees as much for
  the whole time between the passes. Of a weight that does not train it neither makes y again nor a gradient.

Elementwise: a program for each piece of a row. Traffic, bf16, T tokens, in bytes: forward reads 4 TF and writes 2 TF;
backward reads 6 TF and writes 4 TF, or 6 TF where it makes y again. At T = 16,384, F = 14,336: 1.41 GB, and 2.35 or
2.82 GB.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas_kernels.dispatch import register, runs_triton, save_inputs
from clapas_kernels.language import cdiv, jit, next_power_of_2, tl
from clapas_kernels.rows import alignment, as_rows, load_row, piece_of_row, store_row, warps_for

PIECE = 1024
"""Elements of a row that a program takes: with 128 threads, 16 bytes of bf16 each."""


def swiglu(gate_NF: Tensor, up_NF: Tensor) -> Tensor:
    """silu(gate) * up, in the dtype of gate. gate_NF, up_NF: (..., F), any strides."""
    if runs_triton(gate_NF):
        return _swiglu(gate_NF, up_NF)
    return _product(gate_NF, up_NF)


def packed_swiglu(gate_up_NG: Tensor) -> Tensor:
    """`swiglu` of the two halves of each row. gate_up_NG: (..., G = 2F), gate first. Returns (..., F)."""
    if gate_up_NG.shape[-1] % 2:
        raise ValueError(f"packed_swiglu: found rows of {gate_up_NG.shape[-1]} elements; must be two equal halves")
    if runs_triton(gate_up_NG):
        return _packed_swiglu(gate_up_NG)
    return swiglu(*gate_up_NG.chunk(2, -1))


def swiglu_linear(gate_NF: Tensor, up_NF: Tensor, weight_EF: Tensor) -> Tensor:
    """`F.linear(swiglu(gate, up), weight)`, which does not save the product. weight_EF: (E, F). Returns (..., E)."""
    if runs_triton(gate_NF):
        return _swiglu_linear(gate_NF, up_NF, weight_EF)
    if not torch.is_grad_enabled():  # an autograd function costs more than what it computes of one token
        return F.linear(_product(gate_NF, up_NF), weight_EF)
    return _LinearReference.apply(gate_NF, up_NF, weight_EF)  # pyright: ignore[reportReturnType] untyped


# The reference


def _product(gate_NF: Tensor, up_NF: Tensor) -> Tensor:
    return F.silu(gate_NF) * up_NF


def _gradients(grad_NF: Tensor, gate_NF: Tensor, up_NF: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dgate, dup, and y made again: what autograd does for `_product`."""
    activated_NF = F.silu(gate_NF)
    return *_input_gradients(grad_NF, gate_NF, up_NF, activated_NF), activated_NF * up_NF


def _input_gradients(
    grad_NF: Tensor, gate_NF: Tensor, up_NF: Tensor, activated_NF: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """dgate and dup; activated_NF: silu(gate), where it is there already."""
    grad_gate_NF = torch.ops.aten.silu_backward(grad_NF * up_NF, gate_NF)
    return grad_gate_NF, grad_NF * (F.silu(gate_NF) if activated_NF is None else activated_NF)


class _LinearReference(torch.autograd.Function):
    """By hand because autograd would hold silu(gate) and the product beside gate and up."""

    @staticmethod
    def forward(ctx, gate_NF: Tensor, up_NF: Tensor, weight_EF: Tensor) -> Tensor:
        ctx.save_for_backward(gate_NF, up_NF, weight_EF)
        return F.linear(_product(gate_NF, up_NF), weight_EF)

    @staticmethod
    def backward(ctx, grad_NE: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if ctx.needs_input_grad[2]:
            return _linear_gradients(_gradients, grad_NE, *ctx.saved_tensors)
        gate_NF, up_NF, weight_EF = ctx.saved_tensors
        return *_input_gradients(grad_NE @ weight_EF, gate_NF, up_NF), None


def _linear_gradients(
    gradients: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    grad_NE: Tensor, gate_NF: Tensor, up_NF: Tensor, weight_EF: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dgate, dup and dweight; gradients: the reference's or the kernel's."""
    grad_gate_NF, grad_up_NF, product_NF = gradients(grad_NE @ weight_EF, gate_NF, up_NF)
    outputs, inputs = weight_EF.shape
    return grad_gate_NF, grad_up_NF, grad_NE.reshape(-1, outputs).t() @ product_NF.reshape(-1, inputs)


# The kernels


@jit
def _forward(
    GATE, UP, Y, gate_stride, up_stride, N: tl.constexpr, PIECE: tl.constexpr, ALIGNMENT: tl.constexpr
):  # fmt: skip
    row, columns = piece_of_row(N, PIECE)
    gate = load_row(GATE + row * (gate_stride * ALIGNMENT), columns, N, PIECE)
    up = load_row(UP + row * (up_stride * ALIGNMENT), columns, N, PIECE)
    store_row(Y + row * N, columns, gate * sigmoid(gate) * up, N, PIECE)


@jit
def _backward(
    GRAD, GATE, UP, GRAD_GATE, GRAD_UP, Y, grad_stride, gate_stride, up_stride, grad_gate_stride,
    N: tl.constexpr, PIECE: tl.constexpr, ALIGNMENT: tl.constexpr, REMAKES: tl.constexpr,
):  # fmt: skip
    row, columns = piece_of_row(N, PIECE)
    grad = load_row(GRAD + row * (grad_stride * ALIGNMENT), columns, N, PIECE)
    gate = load_row(GATE + row * (gate_stride * ALIGNMENT), columns, N, PIECE)
    up = load_row(UP + row * (up_stride * ALIGNMENT), columns, N, PIECE)
    share = sigmoid(gate)
    activated = gate * share
    grad_gate = grad * up * (share + activated * (1 - share))
    store_row(GRAD_GATE + row * (grad_gate_stride * ALIGNMENT), columns, grad_gate, N, PIECE)
    store_row(GRAD_UP + row * (grad_gate_stride * ALIGNMENT), columns, grad * activated, N, PIECE)
    if REMAKES:
        store_row(Y + row * N, columns, activated * up, N, PIECE)


@jit
def sigmoid(x):
    return 1 / (1 + tl.exp(-x))


def forward_triton(gate_NF: Tensor, up_NF: Tensor) -> Tensor:
    """`swiglu` by its kernel."""
    y_NF, gate, up = gate_NF.new_empty(gate_NF.shape), as_rows(gate_NF), as_rows(up_NF)
    rows, size = gate.shape
    if y_NF.numel():
        piece, unit = min(PIECE, next_power_of_2(size)), alignment(size, gate, up)
        _forward[(rows * cdiv(size, piece),)](
            gate, up, y_NF, gate.stride(0) // unit, up.stride(0) // unit,
            N=size, PIECE=piece, ALIGNMENT=unit, num_warps=warps_for(piece, gate),
        )  # fmt: skip
    return y_NF


def packed_forward_triton(gate_up_NG: Tensor) -> Tensor:
    """`packed_swiglu` by the kernel of `swiglu`."""
    return forward_triton(*gate_up_NG.chunk(2, -1))


def backward_triton(grad_NF: Tensor, gate_NF: Tensor, up_NF: Tensor) -> tuple[Tensor, Tensor]:
    """dgate and dup by the kernel."""
    grad_gate_NF, grad_up_NF = gate_NF.new_empty(gate_NF.shape), up_NF.new_empty(up_NF.shape)
    _launch_backward(grad_NF, gate_NF, up_NF, grad_gate_NF, grad_up_NF)
    return grad_gate_NF, grad_up_NF


def packed_backward_triton(grad_NF: Tensor, gate_up_NG: Tensor) -> Tensor:
    """The gradient of both halves, packed as they are."""
    grad_gate_up_NG = gate_up_NG.new_empty(gate_up_NG.shape)
    _launch_backward(grad_NF, *gate_up_NG.chunk(2, -1), *grad_gate_up_NG.chunk(2, -1))
    return grad_gate_up_NG


def remaking_backward_triton(grad_NF: Tensor, gate_NF: Tensor, up_NF: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dgate, dup and y, from the same loads."""
    grad_gate_NF, grad_up_NF, y_NF = (gate_NF.new_empty(gate_NF.shape) for _ in range(3))
    _launch_backward(grad_NF, gate_NF, up_NF, grad_gate_NF, grad_up_NF, y_NF)
    return grad_gate_NF, grad_up_NF, y_NF


def _launch_backward(
    grad_NF: Tensor,
    gate_NF: Tensor,
    up_NF: Tensor,
    grad_gate_NF: Tensor,
    grad_up_NF: Tensor,
    y_NF: Tensor | None = None,
) -> None:
    """grad_gate_NF, grad_up_NF, y_NF: where the results are stored; the first two with the same strides."""
    grad, gate, up, grad_gate, grad_up = map(as_rows, (grad_NF, gate_NF, up_NF, grad_gate_NF, grad_up_NF))
    rows, size = gate.shape
    if rows == 0 or size == 0:
        return
    piece, unit = min(PIECE, next_power_of_2(size)), alignment(size, grad, gate, up, grad_gate, grad_up)
    _backward[(rows * cdiv(size, piece),)](
        grad, gate, up, grad_gate, grad_up, grad_gate if y_NF is None else y_NF,
        *(x.stride(0) // unit for x in (grad, gate, up, grad_gate)),
        N=size, PIECE=piece, ALIGNMENT=unit, REMAKES=y_NF is not None, num_warps=warps_for(piece, gate),
    )  # fmt: skip


# The operators


def _packed_backward_reference(grad_NF: Tensor, gate_up_NG: Tensor) -> Tensor:
    return torch.cat(_input_gradients(grad_NF, *gate_up_NG.chunk(2, -1)), -1)


def _contiguous(*results: Tensor) -> tuple[Tensor, ...]:
    return tuple(result.contiguous() for result in results)


def _linear_autograd(ctx: Any, grad_NE: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """A weight that does not train has no gradient, and the product that this would need is not made again."""
    if ctx.needs_input_grad[2]:
        return _swiglu_linear_backward(grad_NE, *ctx.saved_tensors)
    gate_NF, up_NF, weight_EF = ctx.saved_tensors
    return *_swiglu_backward(grad_NE @ weight_EF, gate_NF, up_NF), None


_swiglu_backward = register(
    "swiglu_backward(Tensor grad, Tensor gate, Tensor up) -> (Tensor, Tensor)",
    reference=lambda *arguments: _contiguous(*_input_gradients(*arguments)),
    triton=backward_triton,
    fake=lambda grad, gate, up: (gate.new_empty(gate.shape), up.new_empty(up.shape)),
)
_swiglu = register(
    "swiglu(Tensor gate, Tensor up) -> Tensor",
    reference=lambda gate, up: _product(gate, up).contiguous(),
    triton=forward_triton,
    fake=lambda gate, up: gate.new_empty(gate.shape),
    backward=lambda ctx, grad: _swiglu_backward(grad, *ctx.saved_tensors),
    setup_context=save_inputs,
)
_packed_swiglu_backward = register(
    "packed_swiglu_backward(Tensor grad, Tensor gate_up) -> Tensor",
    reference=_packed_backward_reference,
    triton=packed_backward_triton,
    fake=lambda grad, gate_up: gate_up.new_empty(gate_up.shape),
)
_packed_swiglu = register(
    "packed_swiglu(Tensor gate_up) -> Tensor",
    reference=lambda gate_up: _product(*gate_up.chunk(2, -1)).contiguous(),
    triton=packed_forward_triton,
    fake=lambda gate_up: gate_up.new_empty(*gate_up.shape[:-1], gate_up.shape[-1] // 2),
    backward=lambda ctx, grad: _packed_swiglu_backward(grad, *ctx.saved_tensors),
    setup_context=save_inputs,
)
_swiglu_linear_backward = register(
    "swiglu_linear_backward(Tensor grad, Tensor gate, Tensor up, Tensor weight) -> (Tensor, Tensor, Tensor)",
    reference=lambda *arguments: _contiguous(*_linear_gradients(_gradients, *arguments)),
    triton=partial(_linear_gradients, remaking_backward_triton),
    fake=lambda grad, gate, up, weight: tuple(x.new_empty(x.shape) for x in (gate, up, weight)),
)
_swiglu_linear = register(
    "swiglu_linear(Tensor gate, Tensor up, Tensor weight) -> Tensor",
    reference=lambda gate, up, weight: F.linear(_product(gate, up), weight),
    triton=lambda gate, up, weight: F.linear(forward_triton(gate, up), weight),
    fake=lambda gate, up, weight: gate.new_empty(*gate.shape[:-1], weight.shape[0]),
    backward=_linear_autograd,
    setup_context=save_inputs,
)
