"""Liger-Kernel's operations under the meters of `clapas_kernels.proof`, in the way that ours are measured.

    pip install --no-deps --target liger liger-kernel==0.8.5
    PYTHONPATH=liger python benchmarks/liger_traffic.py

Beside what a case of ours says (`proof/operations`): Liger-Kernel deals rows to one program a multiprocessor, and sees
one multiprocessor here, for it asks CUDA and there is none. So it gets as many rows a multiprocessor as ours do. Where
it computes into its inputs, as it does by default, they count as written. Its `rsqrt` and `tanh` are imported by name,
which the interpreter's repair does not reach: they are exchanged here, in the process that interprets. Compiled for
NVIDIA only: without AMD's PyTorch its launches are not those for AMD.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from typing import Any

import torch

from clapas_kernels.proof.cases import Case, Launch, random

TARGETS = ("sm_80", "sm_90")
BF16, INT64, FP32 = 2, 8, 4
ROWS = 124
"""A multiprocessor's share of 16,384 rows on the 132 of an H100."""
HEADS, SHARED, HEAD_DIM, TOKENS = 32, 8, 128, 16


def rms_norm_backward(hidden: int, in_place: bool) -> Launch:
    """As ours: dy, x and weight are read, dx and dweight written."""
    from liger_kernel.ops import rms_norm as liger

    grad, x, weight, rstd = random(ROWS, hidden), random(ROWS, hidden), random(hidden), torch.ones(ROWS)
    block, warps = liger.calculate_settings(hidden)
    return Launch(
        lambda: liger.rms_norm_backward(grad, x, weight, rstd, 0.0, 0, block, warps, in_place, None),
        (grad, x, weight, rstd),
        (3 * ROWS + 2) * hidden * BF16,
        written=(grad,) if in_place else (),
    )


def add_rms_norm_backward(hidden: int) -> Launch:
    """As ours: dy, ds, s and weight are read, one gradient and dweight written."""
    from liger_kernel.ops import fused_add_rms_norm as liger

    grad, grad_sum, total = (random(ROWS, hidden) for _ in range(3))
    weight, rstd = random(hidden), torch.ones(ROWS)
    block, warps = liger.calculate_settings(hidden)
    return Launch(
        lambda: liger.fused_add_rms_norm_backward(grad, grad_sum, total, weight, rstd, 0.0, 0, block, warps, 2, False),
        (grad, grad_sum, total, weight, rstd),
        (4 * ROWS + 2) * hidden * BF16,
    )


def rope(is_head_major: bool) -> Launch:
    """All heads read and written, D / 2 cosines and sines a token. It takes (B, H, S, D)."""
    from liger_kernel.ops.rope import rope_forward

    if is_head_major:
        q, k = random(1, HEADS, TOKENS, HEAD_DIM), random(1, SHARED, TOKENS, HEAD_DIM)
    else:
        q, k = (random(1, TOKENS, heads, HEAD_DIM).transpose(1, 2) for heads in (HEADS, SHARED))
    cos, sin = random(1, TOKENS, HEAD_DIM), random(1, TOKENS, HEAD_DIM)
    minimal = (2 * (HEADS + SHARED) + 1) * TOKENS * HEAD_DIM * BF16
    return Launch(lambda: rope_forward(q, k, cos, sin), (q, k, cos, sin), minimal, written=(q, k))


def swiglu(intermediate: int, is_forward: bool) -> Launch:
    """Forward 3 T F elements, backward 5 T F."""
    from liger_kernel.ops import swiglu as liger

    grad, gate, up = (random(TOKENS, intermediate) for _ in range(3))
    if is_forward:
        return Launch(lambda: liger.swiglu_forward(gate, up), (gate, up), 3 * TOKENS * intermediate * BF16)
    minimal = 5 * TOKENS * intermediate * BF16
    return Launch(lambda: liger.swiglu_backward(gate, up, grad), (grad, gate, up), minimal, written=(gate, up))


def cross_entropy(vocabulary: int) -> Launch:
    """Losses and the gradient of the logits in one launch: logits read, gradient written; targets and losses."""
    from liger_kernel.ops.cross_entropy import cross_entropy_forward

    logits, targets = random(4, vocabulary).requires_grad_(), torch.arange(4)
    minimal = 4 * (2 * vocabulary * BF16 + INT64 + FP32)
    return Launch(
        lambda: cross_entropy_forward(
            logits.detach().requires_grad_(), targets, None, -100, 0.0, 0.0, "sum", None, False
        ),
        (logits, targets),
        minimal,
        written=(logits,),
    )


def linear_cross_entropy() -> Launch:
    """Our scaled case, fp32: T = 256, E = 64, V = 2,048. On a CPU it sums d weight by way of a temporary."""
    from liger_kernel.ops.fused_linear_cross_entropy import fused_linear_cross_entropy_forward

    x, weight = (random(n, 64, dtype=torch.float32).requires_grad_() for n in (256, 2048))
    targets = torch.arange(256)
    return Launch(
        lambda: fused_linear_cross_entropy_forward(x, weight, targets),
        (x, weight, targets),
        2 * (256 + 2048) * 64 * FP32,
    )


def cases() -> dict[str, Case]:
    """By name; what is claimed of ours is not of these."""
    makers: dict[str, Any] = {}
    for hidden in (2048, 4096):
        makers[f"rms_norm backward, in place, H = {hidden}"] = lambda h=hidden: rms_norm_backward(h, True)
        makers[f"rms_norm backward, not in place, H = {hidden}"] = lambda h=hidden: rms_norm_backward(h, False)
        makers[f"add_rms_norm backward, H = {hidden}"] = lambda h=hidden: add_rms_norm_backward(h)
    makers["rope, head-major"] = lambda: rope(True)
    makers["rope, views of token-major"] = lambda: rope(False)
    for size in (5632, 14336):
        makers[f"swiglu forward, F = {size}"] = lambda f=size: swiglu(f, True)
        makers[f"swiglu backward, F = {size}"] = lambda f=size: swiglu(f, False)
    for size in (32_000, 50_257, 128_256):
        makers[f"cross_entropy, V = {size}"] = lambda v=size: cross_entropy(v)
    makers["linear_cross_entropy, scaled"] = linear_cross_entropy
    return {name: Case(name, "", {}, make, 9e9, 0, 0, 1) for name, make in makers.items()}


def analytic_linear_cross_entropy(tokens: int, hidden: int, vocabulary: int, accumulated: int) -> float:
    """Bytes on a GPU in bf16, by its code: chunks of `next_power_of_2(T / ceil(V / E))` rows. As our module's table:
    logits written, read and overwritten, read twice; the weight read twice a chunk; d weight read and written a chunk,
    cleared before, rounded, and multiplied by the upstream gradient. accumulated: bytes of d weight's numbers."""
    rows = 1 << (-(-tokens // -(-vocabulary // hidden)) - 1).bit_length()
    chunks = -(-tokens // rows)
    weights, inputs = vocabulary * hidden, tokens * hidden
    is_rounded = accumulated != BF16
    of_weight = 2 * chunks * (BF16 + accumulated) + accumulated + 2 * BF16 + is_rounded * (accumulated + BF16)
    return 5 * BF16 * tokens * vocabulary + of_weight * weights + 6 * BF16 * inputs


def interpretable() -> None:
    """Give Liger-Kernel's modules the functions of libdevice that the interpreter knows."""
    from liger_kernel.ops import cross_entropy, fused_add_rms_norm, rms_norm
    from triton.language.extra import libdevice

    for module, name in ((rms_norm, "rsqrt"), (fused_add_rms_norm, "rsqrt"), (cross_entropy, "tanh")):
        setattr(module, name, getattr(libdevice, name))


def measured(what: str) -> dict[str, Any]:
    """In this process: traffic where it interprets, the machine code where it compiles."""
    import dataclasses

    from clapas_kernels.proof.measure import static_of, traffic_of

    if what == "static":
        return {name: {target: static_of(case, target) for target in TARGETS} for name, case in cases().items()}
    from clapas_kernels.proof.interpreter import repair

    repair()
    interpretable()
    return {name: dataclasses.asdict(traffic_of(case)) for name, case in cases().items()}


def main() -> None:
    """Print a line of traffic for each case, and a line for each kernel and target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", choices=("traffic", "static"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    if asked.measure:
        json.dump(measured(asked.measure), sys.stdout)
        return
    found: dict[str, Any] = {}
    for what in ("traffic", "static"):
        environment = os.environ | {"TRITON_INTERPRET": "1" if what == "traffic" else "0"}
        run = subprocess.run(
            [sys.executable, __file__, "--measure", what], env=environment, capture_output=True, text=True, check=False
        )
        if run.returncode:
            sys.exit(run.stderr)
        found[what] = json.loads(run.stdout)
    for name, row in found["traffic"].items():
        ratios = f"issued {row['issued']:.3f}, DRAM {row['dram']:.3f}"
        print(f"{name}: launches {row['launches']}, ATen {row['aten']}, {ratios}, fault {row['fault']}")
        for target, kernels in found["static"][name].items():
            for kernel, is_ in kernels.items():
                sizes = f"registers {is_['registers']}, spilled {is_['spilled']}, occupancy {is_['occupancy']:.0%}"
                print(f"    {target} {kernel}: {sizes}, wide {is_['wide']:.2f}")
    for name, size in (("bf16, its default", BF16), ("fp32, as ours", FP32)):
        whole = analytic_linear_cross_entropy(16_384, 4096, 128_256, size)
        where = "linear_cross_entropy, T = 16,384, E = 4,096, V = 128,256, by hand"
        print(f"{where}, d weight summed in {name}: {whole / 1e9:.0f} GB")


if __name__ == "__main__":
    main()
