"""Triton's interpreter with the semantics of a GPU: what triton 3.9 gets wrong on a CPU, repaired.

Under TRITON_INTERPRET=1 triton runs a kernel as Python and NumPy. As shipped, 3.9 differs from a GPU in ways that hide
mistakes or invent them. Within `repaired()`:

- a cast to bf16 rounds to nearest even (shipped: fp32 is truncated, integers and fp64 end as raw bits);
- fp8 casts round to nearest even and saturate, NaN stays NaN, E4M3, E5M2 and their FNUZ forms (shipped: round half up,
  lose the carry, read NaN as a number);
- arithmetic, comparisons, dot products, reductions and scans of bf16 compute in fp32 and round once (shipped: they work
  on the raw 16 bits);
- a comparison is a bool (shipped: it says that it is of what was compared, and a scalar one that meets a block becomes
  int32, which is no mask);
- a float argument is an fp32 scalar (shipped: a Python float, without `.to`);
- the variable of `range` and `tl.range` is an int32 scalar, or int64 where a bound is (shipped: a Python integer, in
  which no product ever overflows);
- libdevice functions compute, or raise where this file does not know them (shipped: they return None);
- a call of a function within a kernel costs little (shipped: all of triton's language is patched anew, each time).

`overflow_checked()` makes the overflow of an int32 sum, difference or product an error, as `debug=True` does on a GPU.
`only_programs()` runs a few programs of a large grid. What stays different from a GPU: a dot product of fp32 is exact
whatever its `input_precision`; sums are in NumPy's order; a sum of bf16 rounds once, at the end; inline assembly and
atomics on bf16 raise.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import triton
import triton.language as tl
from triton import knobs
from triton.language.extra import libdevice
from triton.runtime import interpreter as shipped

from clapas_kernels.proof import SUPPORTED
from clapas_kernels.proof.numbers_as_bits import Array, Builder, Handle, repairs_of_numbers, rounded, widened

_PATCHED: dict[tuple[Any, str], str] = {
    (Builder, "cast_impl"): "self src dst_type",
    (Builder, "create_fp_to_fp"): "self src dst_type rounding_mode",
    (Builder, "binary_op"): "self lhs rhs op",
    (Builder, "unary_op"): "self arg op",
    (Builder, "create_clampf"): "self arg lo hi propagate_nans",
    (Builder, "create_fma"): "self x y z",
    (Builder, "create_dot"): "self a b d input_precision max_num_imprecise_acc",
    (Builder, "set_grid_idx"): "self x y z",
    (Builder, "set_grid_dim"): "self nx ny nz",
    (Builder, "create_masked_load"): "self ptrs mask other cache_policy is_volatile",
    (Builder, "create_masked_store"): "self ptrs value mask cache_policy",
    (Builder, "create_atomic_rmw"): "self rmwOp ptr val mask sem scope",
    (Builder, "create_atomic_cas"): "self ptr cmp val sem scope",
    (Builder, "create_atomic_load"): "self ptr mask sem scope",
    (Builder, "create_atomic_store"): "self ptr val mask sem scope",
    (Builder, "create_barrier"): "self",
    (shipped.ReduceOps, "sum"): "self input",
    (shipped.ReduceOps, "min_max"): "self input val_reduce_op idx_reduce_op",
    (shipped.ScanOps, "cumsum"): "self input",
    (shipped.ScanOps, "cumprod"): "self input",
    (shipped.GridExecutor, "__call__"): "self args_dev kwargs",
    (shipped, "_implicit_cvt"): "arg",
    (shipped, "_patch_lang"): "fn",
    (shipped.FunctionRewriter, "_compile_and_exec"): "self transformed_ast",
}
"""Every function of triton's that this package replaces, with the parameters that it must have."""


class UnsupportedTritonError(RuntimeError):
    """The installed triton is not the one whose interpreter this file repairs."""


class NotInterpretingError(RuntimeError):
    """This process does not run triton's interpreter."""


def check_triton() -> None:
    """Raise `UnsupportedTritonError` where triton's version or internals differ from those that are repaired here."""
    if triton.__version__.rsplit(".", 1)[0] != SUPPORTED:
        raise UnsupportedTritonError(
            f"triton {triton.__version__} is installed; the proof knows the interpreter of triton {SUPPORTED} only. "
            f"Install triton {SUPPORTED}, or extend clapas_kernels/proof/interpreter.py."
        )
    for (owner, name), wanted in _PATCHED.items():
        function = getattr(owner, name, None)
        found = " ".join(inspect.signature(function).parameters) if callable(function) else "nothing"
        if found != wanted:
            raise UnsupportedTritonError(
                f"triton {triton.__version__}: {owner.__name__}.{name} takes ({found}); the proof wants ({wanted}). "
                f"Its internals changed within {SUPPORTED}: extend clapas_kernels/proof/interpreter.py."
            )


def check_interpreting() -> None:
    """Raise `NotInterpretingError` unless TRITON_INTERPRET=1 was set before triton was imported."""
    if not knobs.runtime.interpret:
        raise NotInterpretingError(
            "The interpreter is off: set TRITON_INTERPRET=1 in the environment, before Python starts."
        )
    if not isinstance(tl.zeros, shipped.InterpretedFunction):
        raise NotInterpretingError(
            "TRITON_INTERPRET=1 came too late: triton was already imported, and its own functions would be compiled. "
            "Set it in the environment before Python starts, or before the first `import triton`."
        )


@contextmanager
def replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """Within, `owner` (a class or module of triton's) has these attributes; after, what it had before, or none."""
    before = {name: vars(owner)[name] for name in attributes if name in vars(owner)}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name in attributes:
            setattr(owner, name, before[name]) if name in before else delattr(owner, name)


@contextmanager
def repaired() -> Iterator[None]:
    """Within, kernels run in the interpreter with the semantics of a GPU. May be nested.

    Raises UnsupportedTritonError, NotInterpretingError.
    """
    if hasattr(Builder, "_repaired"):
        yield
        return
    check_triton()
    check_interpreting()
    with ExitStack() as undo:
        for owner, replacements in _repairs().items():
            undo.enter_context(replaced(owner, **replacements))
        undo.enter_context(replaced(Builder, _repaired=True))
        undo.enter_context(_rewritten_anew())
        yield


_for_good = ExitStack()


def repair() -> None:
    """Repair the interpreter for the rest of this process: `repaired()` without an end."""
    _for_good.enter_context(repaired())


@contextmanager
def _rewritten_anew() -> Iterator[None]:
    """Kernels that were rewritten before know Python's loops; those rewritten within must not outlive the repair."""
    cache = shipped.InterpretedFunction.rewritten_fn
    before = dict(cache)
    cache.clear()
    try:
        yield
    finally:
        cache.clear()
        cache.update(before)


def _repairs() -> dict[Any, dict[str, Any]]:
    return {
        **repairs_of_numbers(),
        shipped: {
            "_implicit_cvt": _arguments(shipped._implicit_cvt),
            "_patch_lang": _patch_once(shipped._patch_lang),
            _LOOP: _loop,
        },
        shipped.ASTTransformer: {"visit_For": _visit_for},
        libdevice: _libdevice(libdevice),
    }


# Arguments and loop variables


def _arguments(as_shipped: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def implicit_cvt(arg: Any) -> Any:
        if isinstance(arg, float):
            return tl.tensor(Handle(np.array([arg], np.float32), tl.float32), tl.float32)
        return as_shipped(arg)

    return implicit_cvt


_LOOP = "_clapas_loop"


def _visit_for(self: ast.NodeTransformer, node: ast.For) -> ast.AST:
    """`for i in range(...)` and `tl.range(...)` run over `_loop`; tl.static_range stays Python's, as when compiled."""
    self.generic_visit(node)
    call = node.iter
    if isinstance(call, ast.Call):
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        if name == "range":
            call.func = ast.copy_location(ast.Name(id=_LOOP, ctx=ast.Load()), call.func)
    return node


def _loop(arg1: Any, arg2: Any = None, step: Any = None, **_: Any) -> Iterator[tl.tensor]:
    """What a loop yields on a GPU: scalars of its bounds' integer type."""
    bounds = [arg1] if arg2 is None else [arg1, arg2]
    if step is not None:
        bounds = [*([0] if arg2 is None else []), *bounds, step]
    is_wide = any(isinstance(bound, tl.tensor) and bound.dtype.primitive_bitwidth == 64 for bound in bounds)
    dtype, numpy_dtype = (tl.int64, np.int64) if is_wide else (tl.int32, np.int32)
    for index in range(*map(_integer, bounds)):
        yield tl.tensor(Handle(np.array([index], numpy_dtype), dtype), dtype)


def _integer(bound: Any) -> int:
    if isinstance(bound, tl.tensor):
        return int(bound.handle.data.item())
    return int(bound.value if isinstance(bound, tl.constexpr) else bound)


# Functions within kernels


def _patch_once(as_shipped: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Patch triton's language where it is not patched yet: a launch did it, and each function that it calls would."""

    def patch_lang(fn: Any) -> Any:
        languages = [value for value in fn.__globals__.values() if value is tl or value is tl.core]
        is_patched = languages and not any(tl.core.is_builtin(language.load) for language in languages)
        return shipped._LangPatchScope() if is_patched else as_shipped(fn)

    return patch_lang


# libdevice


def _elementwise(function: Callable[..., Array]) -> Callable[..., tl.tensor]:
    def compute(*args: tl.tensor, _semantic: Any = None) -> tl.tensor:
        result = np.asarray(function(*(widened(arg.handle).data for arg in args)))
        type_: Any = args[0].type
        dtype = type_.scalar
        if dtype == tl.bfloat16:
            return tl.tensor(rounded(result), type_)
        return tl.tensor(Handle(result.astype(shipped._get_np_dtype(dtype)), dtype), type_)

    return compute


_KNOWN_LIBDEVICE: dict[str, Callable[..., Array]] = {
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "rsqrt_rn": lambda x: 1 / np.sqrt(x),
    "sqrt": np.sqrt,
    "sqrt_rn": np.sqrt,
    "tanh": np.tanh,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log1p": np.log1p,
    "pow": np.power,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "rint": np.rint,
    "nearbyint": np.rint,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "abs": np.abs,
    "isnan": np.isnan,
    "div_rn": np.divide,
    "fast_dividef": np.divide,
    "fast_expf": np.exp,
    "fast_tanhf": np.tanh,
}


def _libdevice(module: ModuleType) -> dict[str, Callable[..., tl.tensor]]:
    """A replacement of every stub. Kernels reach it as `libdevice.name`; a name imported alone stays the stub."""

    def unknown(name: str) -> Callable[..., tl.tensor]:
        def refuse(*_: Any, **__: Any) -> tl.tensor:
            raise NotImplementedError(f"libdevice.{name} is not known to clapas_kernels/proof/interpreter.py: add it.")

        return refuse

    stubs = [name for name, value in vars(module).items() if inspect.isfunction(value) and not name.startswith("_")]
    return {name: _elementwise(_KNOWN_LIBDEVICE[name]) if name in _KNOWN_LIBDEVICE else unknown(name) for name in stubs}


# What a GPU would check, and what a large grid needs


@contextmanager
def overflow_checked() -> Iterator[None]:
    """Within, the overflow of an int32 sum, difference or product raises, also where its lanes are masked."""
    options = shipped.interpreter_builder.options
    checking = shipped.InterpreterOptions(debug=True, sanitize_overflow=True)
    shipped.interpreter_builder.options = checking
    try:
        yield
    finally:
        shipped.interpreter_builder.options = options


@contextmanager
def only_programs(*chosen: int) -> Iterator[None]:
    """Within, a launch runs only the programs of these linear indices (x slowest; negative ones count from the end).

    `tl.num_programs` still says the whole grid: so the last row of a tensor of 2^31 elements takes one program.
    """
    call, set_dim, set_idx = shipped.GridExecutor.__call__, Builder.set_grid_dim, Builder.set_grid_idx

    def launch(self: Any, *args: Any, **kwargs: Any) -> Any:
        whole, self.grid = self.grid, (len(chosen),)
        dims: tuple[int, int, int] = (1, 1, 1)

        def set_grid_dim(builder: Builder, *launched: int) -> None:
            nonlocal dims
            bound = inspect.signature(self.fn).bind(*args, **{k: v for k, v in kwargs.items() if k in self.arg_names})
            bound.apply_defaults()
            grid: Any = whole(bound.arguments) if callable(whole) else whole
            nx, ny, nz, *_ = (*grid, 1, 1)
            dims = (nx, ny, nz)
            set_dim(builder, *dims)

        def set_grid_idx(builder: Builder, x: int, *_: int) -> None:
            index = chosen[x] % math.prod(dims)
            set_idx(builder, *(int(i) for i in np.unravel_index(index, dims)))

        with replaced(Builder, set_grid_dim=set_grid_dim, set_grid_idx=set_grid_idx):
            return call(self, *args, **kwargs)

    with replaced(shipped.GridExecutor, __call__=launch):
        yield
