"""A linear layer whose three matrix products are in fp8, on `torch._scaled_mm`; one scale a tensor.

    y = x W^T,    dx = dy W,    dW = dy^T x        x and W in E4M3, dy in E5M2 (Micikevicius et al., 2022)

Both operands are quantised (`fp8.py` has the maths), the product sums in fp32 and is rounded once. What is saved is x
and W quantised: a byte a number, for bf16's two. Each product wants both operands with the summed dimension fastest:
what two of them sum over different dimensions is quantised into both layouts in one pass (`fp8_quantise_both`).

With errors e of x and f of W, y errs by the sum over E of e W + x f + e f. Errors that are independent add up as their
squares do: with |e| <= r |x| and |f| <= r |W|, r = 2^-4, the norm of the error is at most r sqrt(2 + r^2) = 8.9 % of
the root of the sum of all squared products, which for independent numbers is the norm of y; normal numbers, whose e is
mostly far below its bound, come to 3.7 %. A gradient, of dy with r = 2^-3: at most 14 %, and 5.9 %. Outliers cost
more: what is below amax / (M 2^6) in E4M3 loses bits.

`choose` says which of three runs, and the first call of each is logged:

- `scaled_mm`: an accelerator with fp8;
- `emulated`: the same quantised numbers multiplied in fp32; on a CPU, and under `use("reference")`;
- `plain`: `F.linear` in the tensors' own precision: where there is no fp8 (A100: sm_80, MI250X: gfx90a), where a
  size is no multiple of 16, or a dtype is not of 16 or 32 bits.
"""

from __future__ import annotations

from functools import cache
from logging import getLogger
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas_kernels.dispatch import explained_by, forced
from clapas_kernels.fp8 import fp8_quantise_both
from clapas_kernels.fp8_formats import backward_format, why_no_fp8_on

Kernel = Literal["scaled_mm", "emulated", "plain"]
LOG = getLogger("clapas_kernels")
MULTIPLE = 16
"""Of all three sizes of a product, for the hardware."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class AmaxHistory(nn.Module):
    """The amax of a tensor in the steps before: what delayed scaling makes the scale from. A buffer, so checkpointed.

    history: (length + 1,), fp32: the largest of the step in progress, then of the last `length` steps, newest first.
    `advance` ends a step: call it with the optimizer's. Within a step the scale stays, so that micro-batches share it
    and an activation that is computed again is the same. An amax that is infinity or NaN is not remembered: it would
    make the next `length` steps NaN, too.
    """

    history: Tensor

    def __init__(self, length: int = 16, device: torch.device | None = None) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"AmaxHistory: found length {length}; must be at least 1")
        self.register_buffer("history", torch.zeros(length + 1, device=device))
        self._is_known = self._has_recorded = False
        self.register_load_state_dict_post_hook(_after_loading)

    @property
    def amax(self) -> Tensor | None:
        """Of the steps before, (); None before the first ends: then a tensor's own amax is to be found."""
        return self.history[1:].amax() if self._is_known else None

    def record(self, amax: Tensor) -> None:
        """Take the amax of a tensor of this step, ()."""
        self._has_recorded = True
        self.history[0] = torch.where(amax.isfinite(), torch.maximum(self.history[0], amax), self.history[0])

    def advance(self) -> None:
        """End a step, unless nothing was recorded in it: the oldest is forgotten."""
        rolled = self.history.roll(1)
        rolled[0] = 0
        self.history.copy_(torch.where(self.history[0] > 0, rolled, self.history))
        self._is_known |= self._has_recorded


def _after_loading(module: nn.Module, _: Any) -> None:
    assert isinstance(module, AmaxHistory)
    module._is_known = bool((module.history[1:] > 0).any())


class LinearAmax(nn.Module):
    """The amax of what a linear layer quantises, for delayed scaling: of its input, weight and output's gradient."""

    def __init__(self, length: int = 16, device: torch.device | None = None) -> None:
        super().__init__()
        self.input, self.weight, self.grad = (AmaxHistory(length, device) for _ in range(3))

    def advance(self) -> None:
        """End a step."""
        for history in (self.input, self.weight, self.grad):
            history.advance()


def fp8_linear(x_NE: Tensor, weight_FE: Tensor, amax: LinearAmax | None = None) -> Tensor:
    """x W^T in fp8, (..., F), in the dtype of x; see the module for what runs where there is none.

    x_NE: (..., E). weight_FE: (F, E), of 16 or 32 bits. amax: for delayed scaling, which saves a pass over each tensor;
    None: each tensor is scaled by its own amax.
    """
    kernel, reason = choose(x_NE, weight_FE)
    if not torch.compiler.is_compiling():
        _say_once(kernel, reason)
    if kernel == "plain":
        return F.linear(x_NE, weight_FE.to(x_NE.dtype))
    x_TE = x_NE.reshape(-1, x_NE.shape[-1])
    y_TF = _Linear.apply(x_TE, weight_FE, amax, kernel == "scaled_mm")
    assert isinstance(y_TF, Tensor)
    return y_TF.view(*x_NE.shape[:-1], len(weight_FE))


def choose(x_NE: Tensor, weight_FE: Tensor) -> tuple[Kernel, str]:
    """(what multiplies such tensors, why)."""
    if reason := why_no_fp8_on(x_NE.device):
        return "plain", reason
    if others := {x_NE.dtype, weight_FE.dtype}.difference(DTYPES):
        return "plain", f"fp8 is made of 16 or 32 bits, not {', '.join(map(str, others))}"
    outputs, inputs = weight_FE.shape
    sizes = {"tokens": x_NE.numel() // max(inputs, 1), "inputs": inputs, "outputs": outputs}
    if odd := [name for name, size in sizes.items() if size % MULTIPLE or size == 0]:
        return "plain", f"{' and '.join(odd)} no multiple of {MULTIPLE}"
    if forced() == "reference":
        return "emulated", 'by clapas_kernels.use("reference")'
    if not x_NE.is_cuda:
        return "emulated", f"no fp8 products on {x_NE.device.type}"
    return "scaled_mm", f"fp8 on {x_NE.device.type}"


@explained_by("fp8_linear")
def _explain(device: str) -> tuple[str, str]:
    """For bf16 whose sizes are multiples of 16."""
    x = torch.empty(MULTIPLE, MULTIPLE, dtype=torch.bfloat16, device=device)
    return choose(x, x)


@cache
def _say_once(kernel: Kernel, reason: str) -> None:
    LOG.info("fp8 linear: %s (%s)", kernel, reason)


Quantised = tuple[Tensor, Tensor]
"""fp8, and its scale."""


class _Linear(torch.autograd.Function):
    """By hand, because the products of the gradients are of other numbers than autograd would take: the quantised."""

    @staticmethod
    def forward(ctx, x_TE: Tensor, weight_FE: Tensor, amax: LinearAmax | None, is_fused: bool) -> Tensor:
        x, turned_x = _quantised(x_TE, None, amax and amax.input)
        weight, turned_weight = _quantised(weight_FE, None, amax and amax.weight)
        ctx.save_for_backward(*turned_x, *turned_weight)
        ctx.grad_amax, ctx.is_fused = amax and amax.grad, is_fused
        ctx.dtypes = x_TE.dtype, weight_FE.dtype
        return product(x, weight, x_TE.dtype, is_fused)

    @staticmethod
    def backward(ctx, grad_TF: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        x_q, x_scale, weight_q, weight_scale = ctx.saved_tensors
        grad, turned_grad = _quantised(grad_TF, backward_format(grad_TF.device), ctx.grad_amax)
        grad_x_TE = grad_weight_FE = None
        if ctx.needs_input_grad[0]:
            grad_x_TE = product(grad, (weight_q, weight_scale), ctx.dtypes[0], ctx.is_fused)
        if ctx.needs_input_grad[1]:
            grad_weight_FE = product(turned_grad, (x_q, x_scale), ctx.dtypes[1], ctx.is_fused)
        return grad_x_TE, grad_weight_FE, None, None


def _quantised(x_TE: Tensor, dtype: torch.dtype | None, history: AmaxHistory | None) -> tuple[Quantised, Quantised]:
    """x, and x transposed."""
    q_TE, q_ET, scale, amax = fp8_quantise_both(x_TE, dtype, history and history.amax)
    if history is not None:
        history.record(amax)
    return (q_TE, scale), (q_ET, scale)


def product(a: Quantised, b: Quantised, dtype: torch.dtype, is_fused: bool) -> Tensor:
    """a b^T, (M, N), of contiguous (M, K) and (N, K); is_fused: by `torch._scaled_mm`, which the emulation stands for.

    `_scaled_mm` sums in fp32 (no `use_fast_accum`, which on Hopper keeps 14 bits of a sum: arXiv:2412.19437, 3.3.2).
    """
    if is_fused:
        return torch.ops.aten._scaled_mm(a[0], b[0].t(), a[1], b[1], out_dtype=dtype)
    return (a[0].float() @ b[0].float().t()).mul_(a[1]).mul_(b[1]).to(dtype)
