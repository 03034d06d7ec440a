"""Numbers of bf16 and fp8 in triton's interpreter: it keeps them as bits, and NumPy takes those for integers.

Here they are computed in fp32 and rounded once, as the hardware does. Of `interpreter.py`'s repairs, those of numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import triton.language as tl
from numpy.typing import NDArray
from triton.runtime import interpreter as shipped

Handle = shipped.TensorHandle
Builder = shipped.InterpreterBuilder
Array = NDArray[Any]

_TORCH_OF_FP8 = {
    tl.float8e5: torch.float8_e5m2,
    tl.float8e4nv: torch.float8_e4m3fn,
    tl.float8e5b16: torch.float8_e5m2fnuz,
    tl.float8e4b8: torch.float8_e4m3fnuz,
}


def repairs_of_numbers() -> dict[Any, dict[str, Any]]:
    """Class of triton's -> what it must have so that casts, arithmetic, reductions and scans are of numbers."""
    return {
        Builder: {**_casts(), **_bf16_arithmetic()},
        shipped.ReduceOps: {"sum": _reduce_sum, "min_max": _reduce_min_max(shipped.ReduceOps.min_max)},
        shipped.ScanOps: {"cumsum": _scan(np.cumsum), "cumprod": _scan(np.cumprod)},
    }


def bf16_from_fp32(wide: Array) -> Array:
    """The bits of `wide` (fp32) rounded to the nearest bf16, ties to even; NaN stays NaN, 2^128 and beyond overflow."""
    bits = np.ascontiguousarray(wide, dtype=np.float32).view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(wide), np.uint16(0x7FC0), rounded).reshape(np.shape(wide))


def fp32_from_bf16(bits: Array) -> Array:
    """The numbers behind the bits of bf16, exactly."""
    return (np.ascontiguousarray(bits).astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(np.shape(bits))


def _is_bf16(handle: Handle) -> bool:
    return handle.dtype.scalar == tl.bfloat16


def widened(handle: Handle) -> Handle:
    """The same numbers in fp32 where they are bf16 or fp8: kept as bits, which NumPy would take for integers."""
    scalar = handle.dtype.scalar
    if scalar == tl.bfloat16:
        return Handle(fp32_from_bf16(handle.data), tl.float32)
    if scalar in _TORCH_OF_FP8:
        numbers = torch.from_numpy(np.ascontiguousarray(handle.data)).view(_TORCH_OF_FP8[scalar]).float().numpy()
        return Handle(numbers.reshape(handle.data.shape), tl.float32)
    return handle


def rounded(wide: Array) -> Handle:
    """Numbers of fp32 as bf16."""
    return Handle(bf16_from_fp32(wide), tl.bfloat16)


# Casts


def _casts() -> dict[str, Any]:
    shipped_cast, shipped_fp_to_fp = Builder.cast_impl, Builder.create_fp_to_fp

    def cast_impl(self: Builder, src: Handle, dst_type: tl.dtype) -> Handle:
        source, wanted = src.dtype.scalar, dst_type.scalar
        if source == wanted:
            return Handle(src.data, wanted)
        wide = widened(src)
        if wanted == tl.bfloat16:
            return rounded(wide.data.astype(np.float32))
        return shipped_cast(self, wide, dst_type) if wanted != wide.dtype else wide

    def create_fp_to_fp(self: Builder, src: Handle, dst_type: tl.dtype, rounding_mode: Any) -> Handle:
        source, wanted = src.dtype.scalar, dst_type.scalar
        towards_zero = rounding_mode == shipped._ir.ROUNDING_MODE.RTZ
        if source in _TORCH_OF_FP8:
            return cast_impl(self, widened(src), dst_type)
        if wanted in _TORCH_OF_FP8:
            if towards_zero:
                raise NotImplementedError(f"a cast to {wanted} that rounds towards zero: the interpreter has none.")
            return _to_fp8(widened(src).data.astype(np.float32), wanted)
        if wanted == tl.bfloat16 and towards_zero and source == tl.float32:
            return Handle((np.ascontiguousarray(src.data).view(np.uint32) >> 16).astype(np.uint16), wanted)
        if not towards_zero and {source, wanted} <= {tl.bfloat16, tl.float16, tl.float32, tl.float64}:
            return cast_impl(self, src, dst_type)
        return shipped_fp_to_fp(self, src, dst_type, rounding_mode)

    return {"cast_impl": cast_impl, "create_fp_to_fp": create_fp_to_fp}


def _to_fp8(wide: Array, wanted: tl.dtype) -> Handle:
    """Nearest even and saturating, as NVIDIA's cvt.rn.satfinite: infinity becomes the largest number, NaN stays."""
    dtype = _TORCH_OF_FP8[wanted]
    largest = torch.finfo(dtype).max
    numbers = torch.from_numpy(np.array(wide, dtype=np.float32)).clamp(-largest, largest).to(dtype)
    return Handle(numbers.view(torch.uint8).numpy().reshape(np.shape(wide)), wanted)


# bf16 arithmetic: in fp32, rounded once, as the hardware does

_BITWISE = (np.bitwise_and, np.bitwise_or, np.bitwise_xor)


def _bf16_arithmetic() -> dict[str, Any]:
    binary, unary, clamp, dot, fma = (
        Builder.binary_op,
        Builder.unary_op,
        Builder.create_clampf,
        Builder.create_dot,
        Builder.create_fma,
    )

    def binary_op(self: Builder, lhs: Handle, rhs: Handle, op: Any) -> Handle:
        is_of_numbers = _is_bf16(lhs) and op not in _BITWISE
        result = binary(self, widened(lhs), widened(rhs), op) if is_of_numbers else binary(self, lhs, rhs, op)
        if result.data.dtype == np.bool_:
            return Handle(result.data, tl.int1)
        return rounded(result.data) if is_of_numbers else result

    def unary_op(self: Builder, arg: Handle, op: Any) -> Handle:
        return rounded(op(fp32_from_bf16(arg.data))) if _is_bf16(arg) else unary(self, arg, op)

    def create_clampf(self: Builder, arg: Handle, lo: Handle, hi: Handle, propagate_nans: Any) -> Handle:
        if not _is_bf16(arg):
            return clamp(self, arg, lo, hi, propagate_nans)
        return rounded(clamp(self, widened(arg), widened(lo), widened(hi), propagate_nans).data)

    def create_fma(self: Builder, x: Handle, y: Handle, z: Handle) -> Handle:
        if not _is_bf16(z):
            return fma(self, x, y, z)
        return rounded(fma(self, widened(x), widened(y), widened(z)).data)

    def create_dot(self: Builder, a: Handle, b: Handle, d: Handle, *precision: Any) -> Handle:
        return dot(self, widened(a), widened(b), d, *precision)

    return {
        "binary_op": binary_op,
        "unary_op": unary_op,
        "create_clampf": create_clampf,
        "create_fma": create_fma,
        "create_dot": create_dot,
    }


def _reduce_sum(self: Any, input: tl.tensor) -> tl.tensor:
    total = np.sum(widened(input.handle).data, axis=self.axis, keepdims=self.keep_dims)
    return _as_tensor(self, total, input.dtype)


def _reduce_min_max(as_shipped: Callable[..., Any]) -> Callable[..., Any]:
    def min_max(self: Any, input: Any, val_reduce_op: Any, idx_reduce_op: Any = None) -> Any:
        values = input[0] if isinstance(input, tuple) else input
        if values.dtype.scalar != tl.bfloat16:
            return as_shipped(self, input, val_reduce_op, idx_reduce_op)
        wide = fp32_from_bf16(values.handle.data)
        best = _as_tensor(self, val_reduce_op(wide, axis=self.axis, keepdims=self.keep_dims), values.dtype)
        if idx_reduce_op is None:
            return best
        return best, self.to_tensor(idx_reduce_op(wide, axis=self.axis, keepdims=self.keep_dims), tl.int32)

    return min_max


def _scan(accumulate: Callable[..., Array]) -> Callable[..., Any]:
    def scan(self: Any, input: tl.tensor) -> list[tl.tensor]:
        return [_as_tensor(self, accumulate(widened(input.handle).data, axis=self.axis), input.dtype)]

    return scan


def _as_tensor(operation: Any, result: Array, dtype: tl.dtype) -> tl.tensor:
    bits = bf16_from_fp32(np.asarray(result, np.float32)) if dtype.scalar == tl.bfloat16 else result
    return operation.to_tensor(bits, dtype)
