"""Each fused operation on a GPU against eager PyTorch, `torch.compile` and Liger-Kernel: bandwidth and peak memory.

    python benchmarks/kernels_gpu.py [rms_norm swiglu ...] [--tokens 16384] [--hidden 4096] [--intermediate 14336]
        [--vocabulary 128256] [--dtype bf16]

Forward and backward together, of the public functions as a model calls them. Time: the median of CUDA events, all sides
in turn, each after a cold L2. GB/s: the bytes that the operation must move at least, over the time: to be held against
the memory's own bandwidth, which the first line copies to find out. Needs a GPU; Liger-Kernel where it is installed
(`pip install liger-kernel==0.8.5`). Never run by this project, which has no GPU: see docs/not-run.md.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

import clapas_kernels as ours

EPS = 1e-6
TURNS, WARM_UP = 30, 5
COLD_BYTES = 512 * 2**20
"""Written before each turn: more than any L2 holds."""
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

Function = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Sizes:
    """Of the tensors."""

    tokens: int
    hidden: int
    intermediate: int
    vocabulary: int
    dtype: torch.dtype

    def random(self, *shape: int) -> Tensor:
        """A tensor that wants a gradient."""
        return torch.randn(shape, device="cuda", dtype=self.dtype).requires_grad_()


@dataclass(frozen=True)
class Contest:
    """An operation: its sides, what they are called with, and the elements that both passes must move at least."""

    sides: dict[str, Function]
    inputs: tuple[Tensor, ...]
    elements: int


def rms_norm(sizes: Sizes) -> Contest:
    """Forward 2 T E, backward 3 T E."""

    def eager(x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, EPS)

    liger = liger_function("ops.rms_norm", "LigerRMSNormFunction")
    sides = {"ours": lambda x, weight: ours.rms_norm(x, weight, EPS), **with_compiled(eager)}
    if liger:
        sides["Liger"] = lambda x, weight: liger.apply(x, weight, EPS, 0.0, "llama", False)
    inputs = sizes.random(sizes.tokens, sizes.hidden), sizes.random(sizes.hidden)
    return Contest(sides, inputs, 5 * sizes.tokens * sizes.hidden)


def add_rms_norm(sizes: Sizes) -> Contest:
    """Forward 4 T E, backward 4 T E."""

    def eager(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        total = x + residual
        return F.rms_norm(total, weight.shape, weight, EPS), total

    liger = liger_function("ops.fused_add_rms_norm", "LigerFusedAddRMSNormFunction")
    sides = {"ours": lambda x, residual, weight: ours.add_rms_norm(x, residual, weight, EPS), **with_compiled(eager)}
    if liger:
        sides["Liger"] = lambda x, residual, weight: liger.apply(x, residual, weight, EPS, 0.0, "llama", False)
    inputs = (*(sizes.random(sizes.tokens, sizes.hidden) for _ in range(2)), sizes.random(sizes.hidden))
    return Contest(sides, inputs, 8 * sizes.tokens * sizes.hidden)


def rope(sizes: Sizes) -> Contest:
    """Of heads of 128, a quarter as many keys: 2 (H + K) D T each way."""
    heads, shared, head_dim = sizes.hidden // 128, max(1, sizes.hidden // 512), 128
    angles = torch.outer(torch.arange(sizes.tokens), 1e4 ** (-torch.arange(head_dim // 2) / (head_dim // 2)))
    cos, sin = (x.to("cuda", sizes.dtype)[None, :, None] for x in (angles.cos(), angles.sin()))
    wide_cos, wide_sin = (torch.cat([x, x], -1) for x in (cos, sin))

    def eager(q: Tensor, k: Tensor) -> tuple[Tensor, ...]:
        turned = (x * wide_cos + torch.cat([-x.chunk(2, -1)[1], x.chunk(2, -1)[0]], -1) * wide_sin for x in (q, k))
        return tuple(x.transpose(1, 2) for x in turned)

    liger = liger_function("ops.rope", "LigerRopeFunction")
    sides = {"ours": lambda q, k: ours.rope(q, k, cos, sin), **with_compiled(eager)}
    if liger:
        sides["Liger"] = lambda q, k: liger.apply(
            q.transpose(1, 2), k.transpose(1, 2), wide_cos.squeeze(2), wide_sin.squeeze(2)
        )
    inputs = tuple(sizes.random(1, sizes.tokens, count, head_dim) for count in (heads, shared))
    return Contest(sides, inputs, 4 * (heads + shared) * head_dim * sizes.tokens)


def swiglu(sizes: Sizes) -> Contest:
    """Forward 3 T F, backward 5 T F."""
    liger = liger_function("ops.swiglu", "LigerSiLUMulFunction")
    sides = {"ours": ours.swiglu, **with_compiled(lambda gate, up: F.silu(gate) * up)}
    if liger:
        sides["Liger"] = liger.apply
    inputs = tuple(sizes.random(sizes.tokens, sizes.intermediate) for _ in range(2))
    return Contest(sides, inputs, 8 * sizes.tokens * sizes.intermediate)


def cross_entropy(sizes: Sizes) -> Contest:
    """The logits are read twice and written once."""
    targets = torch.randint(sizes.vocabulary, (sizes.tokens,), device="cuda")

    def eager(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), targets, reduction="sum")

    liger = liger_function("ops.cross_entropy", "LigerCrossEntropyFunction")
    sides = {"ours": lambda logits: ours.cross_entropy(logits, targets), **with_compiled(eager)}
    if liger:
        sides["Liger"] = lambda logits: liger.apply(logits.clone(), targets, None, -100, 0.0, 0.0, "sum")[0]
    return Contest(sides, (sizes.random(sizes.tokens, sizes.vocabulary),), 3 * sizes.tokens * sizes.vocabulary)


def linear_cross_entropy(sizes: Sizes) -> Contest:
    """The hidden states and the weight are read, their gradients written; the products are not counted."""
    targets = torch.randint(sizes.vocabulary, (sizes.tokens,), device="cuda")

    def eager(hidden: Tensor, weight: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(hidden, weight).float(), targets, reduction="sum")

    liger = liger_function("ops.fused_linear_cross_entropy", "LigerFusedLinearCrossEntropyFunction")
    sides = {"ours": lambda hidden, weight: ours.linear_cross_entropy(hidden, weight, targets)[0]}
    sides |= with_compiled(eager)
    if liger:
        sides["Liger"] = lambda hidden, weight: liger.apply(hidden, weight, targets, None, None, -100, 0.0, 0.0, "sum")[
            0
        ]
    inputs = sizes.random(sizes.tokens, sizes.hidden), sizes.random(sizes.vocabulary, sizes.hidden)
    return Contest(sides, inputs, 2 * sum(x.numel() for x in inputs))


CONTESTS = {
    contest.__name__: contest for contest in (rms_norm, add_rms_norm, rope, swiglu, cross_entropy, linear_cross_entropy)
}


def with_compiled(eager: Function) -> dict[str, Function]:
    """A formula as PyTorch runs it, and as its compiler does."""
    return {"eager": eager, "compiled": torch.compile(eager, dynamic=False)}


def liger_function(module: str, name: str) -> type[torch.autograd.Function] | None:
    """One of Liger-Kernel's, where it is installed."""
    try:
        return getattr(importlib.import_module(f"liger_kernel.{module}"), name)
    except (ImportError, AttributeError):
        return None


def both_passes(function: Function, inputs: tuple[Tensor, ...]) -> Callable[[], None]:
    """One forward and one backward pass, with the same gradient from above each time."""
    results = function(*inputs)
    outputs = results if isinstance(results, tuple) else (results,)
    upstream = [torch.randn_like(output) for output in outputs]

    def run() -> None:
        results = function(*inputs)
        outputs = results if isinstance(results, tuple) else (results,)
        torch.autograd.grad(outputs, inputs, upstream)

    return run


def milliseconds(run: Callable[[], None], cold: Tensor) -> float:
    """Of one call, after a cold cache."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    cold.zero_()
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def compare(name: str, sizes: Sizes) -> Iterator[str]:
    """A row for each side of an operation."""
    contest = CONTESTS[name](sizes)
    cold = torch.empty(COLD_BYTES, dtype=torch.int8, device="cuda")
    runs, peaks = {}, {}
    for side, function in contest.sides.items():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        try:
            runs[side] = both_passes(function, contest.inputs)
            for _ in range(WARM_UP):
                runs[side]()
        except torch.cuda.OutOfMemoryError:
            runs.pop(side, None)
            yield f"| {name} | {side} | out of memory | | |"
            continue
        peaks[side] = torch.cuda.max_memory_allocated() - before
    taken: dict[str, list[float]] = {side: [] for side in runs}
    for _ in range(TURNS):
        for side, run in runs.items():
            taken[side].append(milliseconds(run, cold))
    for side, times in taken.items():
        median = statistics.median(times)
        rate = contest.elements * sizes.dtype.itemsize / median / 1e6
        yield f"| {name} | {side} | {median:.3f} | {rate:,.0f} | {peaks[side] / 2**20:,.0f} |"


def copy_rate() -> float:
    """GB/s that a plain copy reaches: both directions counted."""
    source = torch.empty(2**30, dtype=torch.int8, device="cuda")
    target, cold = torch.empty_like(source), torch.empty(COLD_BYTES, dtype=torch.int8, device="cuda")

    def copy() -> None:
        target.copy_(source)

    times = [milliseconds(copy, cold) for _ in range(TURNS)]
    return 2 * source.numel() / statistics.median(times) / 1e6


def main() -> None:
    """Compare what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operations", nargs="*", default=[], metavar="operation", help=", ".join(CONTESTS))
    for name, default in (("tokens", 16_384), ("hidden", 4_096), ("intermediate", 14_336), ("vocabulary", 128_256)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    options = parser.parse_args()
    if unknown := [name for name in options.operations if name not in CONTESTS]:
        parser.error(f"found {', '.join(unknown)}; must be of {', '.join(CONTESTS)}")
    if not torch.cuda.is_available():
        sys.exit(
            "benchmarks/kernels_gpu.py needs a GPU, and PyTorch sees none here.\n"
            "Without one, `python -m clapas_kernels.proof` proves and measures the kernels."
        )
    sizes = Sizes(options.tokens, options.hidden, options.intermediate, options.vocabulary, DTYPES[options.dtype])
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; a copy reaches {copy_rate():,.0f} GB/s\n")
    print("| operation | side | ms, both passes | GB/s | peak MiB |\n|---|---|---|---|---|")
    for name in options.operations or CONTESTS:
        for row in compare(name, sizes):
            print(row, flush=True)


if __name__ == "__main__":
    main()
