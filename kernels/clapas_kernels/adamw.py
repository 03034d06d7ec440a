"""A step of AdamW on flat shards, as ZeRO holds them (Loshchilov & Hutter, 2019, arXiv:1711.05101).

With gradient g, parameters p, moments m and v, at step t, from 1 on:

    m = m + (1 - beta1) (g - m);   v = beta2 v + (1 - beta2) g^2
    p = (1 - lr weight_decay) p - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

In fp32 whatever the tensors are: the update reads m and v before they are rounded. Where all are fp32 the reference is
bit-equal to `torch.optim.AdamW(foreach=False)`.

p, m and v may each be bf16. Rounded to the nearest they lose what is small beside them: with beta2 = 0.999, v cannot
fall at all, for 0.001 v is less than half its last place. So with a seed all three are rounded stochastically
(`stochastic_rounding`), from different words of the same draw.

Elementwise: a program for each piece. Traffic: each state is read once and written once, the gradient read once: 28
bytes an element where all is fp32, 22 with p and g in bf16, 14 where all is bf16. A shard of 10^8: 2.8 GB, 2.2, 1.4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clapas_kernels.dispatch import register
from clapas_kernels.language import cdiv, jit, tl
from clapas_kernels.rows import WIDEST_ACCESS, warps_for, wide
from clapas_kernels.stochastic_rounding import (
    ROUNDS,
    random_words,
    random_words_of,
    round_stochastically,
    rounded_stochastically,
)

PIECE = 1024
"""Elements of a program."""
PIECE_ON_CPU = 2**16
"""Elements at a time in the reference: all its temporaries stay in a processor's cache."""
STORED = (torch.float32, torch.bfloat16)


@torch.no_grad()
def adamw_step(
    parameter_N: Tensor, grad_N: Tensor, exp_avg_N: Tensor, exp_avg_sq_N: Tensor, *,
    step: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float,
    seed: int | None = None, first: int = 0,
) -> None:  # fmt: skip
    """Update parameter, exp_avg and exp_avg_sq in place.

    parameter_N, exp_avg_N, exp_avg_sq_N: (N,), contiguous, each fp32 or bf16. grad_N: (N,), contiguous, floating.
    step: from 1 on, this one included. seed: 63 bits; round what is bf16 stochastically; None: to the nearest.
    first: the place of the shard's first element in what is sharded: equal seeds then round equally on any number of
    ranks. Raises ValueError where a tensor is none of these.
    """
    _check(parameter_N, grad_N, exp_avg_N, exp_avg_sq_N, step)
    _adamw_step(parameter_N, grad_N, exp_avg_N, exp_avg_sq_N, step, lr, *betas, eps, weight_decay, seed, first)


def _check(parameter_N: Tensor, grad_N: Tensor, exp_avg_N: Tensor, exp_avg_sq_N: Tensor, step: int) -> None:
    tensors = {"parameter": parameter_N, "grad": grad_N, "exp_avg": exp_avg_N, "exp_avg_sq": exp_avg_sq_N}
    for name, x in tensors.items():
        if x.shape != parameter_N.shape or x.ndim != 1 or not x.is_contiguous():
            found = f"{name} of shape {tuple(x.shape)} and strides {x.stride()}"
            raise ValueError(f"adamw_step: found {found}; all must be flat, contiguous and of one length")
        if x is not grad_N and x.dtype not in STORED:
            raise ValueError(f"adamw_step: found {name} in {x.dtype}; must be torch.float32 or torch.bfloat16")
    if step < 1:
        raise ValueError(f"adamw_step: found step {step}; the first is 1")


# The reference


def _reference(
    parameter_N: Tensor, grad_N: Tensor, exp_avg_N: Tensor, exp_avg_sq_N: Tensor,
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float,
    seed: int | None, first: int,
) -> None:  # fmt: skip
    for start in range(0, len(parameter_N), PIECE_ON_CPU):
        piece = slice(start, start + PIECE_ON_CPU)
        stored = [x[piece] for x in (parameter_N, exp_avg_N, exp_avg_sq_N)]
        p, m, v = (x.float() for x in stored)
        g = grad_N[piece].float()
        p.mul_(1 - lr * weight_decay)
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        denominator = (v.sqrt() / math.sqrt(1 - beta2**step)).add_(eps)
        p.addcdiv_(m, denominator, value=-lr / (1 - beta1**step))
        _store(stored, (p, m, v), seed, first + start, step)


def _store(stored: list[Tensor], values: tuple[Tensor, ...], seed: int | None, first: int, step: int) -> None:
    halves = [x.dtype == torch.bfloat16 for x in stored]
    words = None if seed is None or not any(halves) else random_words(seed, first, len(stored[0]), step)
    for number, (x, value) in enumerate(zip(stored, values, strict=True)):
        if halves[number]:
            x.copy_(value if words is None else round_stochastically(value, words[number].to(value.device)))


# The kernel


@jit
def _step(
    P, G, M, V, units, decay, beta1_rest, beta2, beta2_rest, root, eps, rate, seed, first, step,
    UNIT: tl.constexpr, PIECE: tl.constexpr, STOCHASTIC: tl.constexpr, ROUNDS: tl.constexpr,
):  # fmt: skip
    """units: of UNIT elements. root: 1 / sqrt(1 - beta2^t). rate: lr / (1 - beta1^t). *_rest: 1 - beta."""
    places = tl.program_id(0).to(tl.int64) * PIECE + tl.arange(0, PIECE)
    is_there = places // UNIT < units
    p, g = wide(tl.load(P + places, mask=is_there)), wide(tl.load(G + places, mask=is_there))
    m, v = wide(tl.load(M + places, mask=is_there)), wide(tl.load(V + places, mask=is_there))
    m += beta1_rest * (g - m)
    v = beta2 * v + beta2_rest * g * g
    p = decay * p - rate * (m / (tl.sqrt_rn(v) * root + eps))
    if STOCHASTIC:
        words_p, words_m, words_v, _ = random_words_of(seed, first + places, step, ROUNDS)
        _store_rounded(P + places, p, words_p, is_there)
        _store_rounded(M + places, m, words_m, is_there)
        _store_rounded(V + places, v, words_v, is_there)
    else:
        tl.store(P + places, p.to(P.dtype.element_ty), mask=is_there)
        tl.store(M + places, m.to(M.dtype.element_ty), mask=is_there)
        tl.store(V + places, v.to(V.dtype.element_ty), mask=is_there)


@jit
def _store_rounded(POINTERS, x, words, is_there):
    if POINTERS.dtype.element_ty == tl.bfloat16:
        tl.store(POINTERS, rounded_stochastically(x, words), mask=is_there)
    else:
        tl.store(POINTERS, x, mask=is_there)


def step_triton(
    parameter_N: Tensor, grad_N: Tensor, exp_avg_N: Tensor, exp_avg_sq_N: Tensor,
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float,
    seed: int | None, first: int,
) -> None:  # fmt: skip
    """`adamw_step` by its kernel: what fills wide accesses, then the few elements that are left."""
    tensors = parameter_N, grad_N, exp_avg_N, exp_avg_sq_N
    narrowest = min(tensors, key=Tensor.element_size)
    unit = WIDEST_ACCESS // narrowest.element_size()
    body = len(parameter_N) // unit * unit
    factors = (
        1 - lr * weight_decay, 1 - beta1, beta2, 1 - beta2, 1 / math.sqrt(1 - beta2**step), eps, lr / (1 - beta1**step)
    )  # fmt: skip
    constants = {"PIECE": PIECE, "STOCHASTIC": seed is not None, "ROUNDS": ROUNDS}
    constants["num_warps"] = warps_for(PIECE, narrowest)
    for part, size in ((slice(0, body), unit), (slice(body, None), 1)):
        parts = [x[part] for x in tensors]
        count = len(parts[0])
        if count:
            grid, begin = (cdiv(count, PIECE),), first + (part.start or 0)
            _step[grid](*parts, count // size, *factors, seed or 0, begin, step, UNIT=size, **constants)


_adamw_step = register(
    "adamw_step(Tensor(a!) parameter, Tensor grad, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, int step, float lr, "
    "float beta1, float beta2, float eps, float weight_decay, int? seed, int first) -> ()",
    reference=_reference,
    triton=step_triton,
    fake=lambda *_: None,
)
