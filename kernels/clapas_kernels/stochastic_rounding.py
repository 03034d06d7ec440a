"""Rounding fp32 to bf16 up or down at random, so that the mean is exact (Gupta et al., 2015, arXiv:1502.02551).

An update of less than half a unit in the last place is lost where a bf16 number is rounded to the nearest; here it
moves the number with a probability in proportion. The 16 bits that bf16 drops are added to 16 random ones; a carry
rounds up.

Random bits are a function, not a state: Philox4x32 (Salmon et al., 2011, Random123) of a seed, an element's place and
a step. So a run repeats bit for bit, whoever holds which shard, and both implementations draw the same bits. Seven
rounds, the fewest that pass BigCrush.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clapas_kernels.language import jit, tl

ROUNDS = 7
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WORD = 0xFFFFFFFF


def random_words(seed: int, first: int, count: int, step: int, rounds: int = ROUNDS) -> tuple[Tensor, ...]:
    """Four words of 32 random bits, int64, (count,), for each of the places from `first` on.

    seed: 64 bits. step: 32 bits.
    """
    places = torch.arange(first, first + count)
    c0, c1 = places & WORD, places >> 32
    c2, c3 = torch.full_like(places, step), torch.zeros_like(places)
    key0, key1 = seed & WORD, seed >> 32 & WORD
    for _ in range(rounds):
        (high0, low0), (high1, low1) = _product(c0, MULTIPLIERS[0]), _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
        key0, key1 = key0 + KEY_STEPS[0] & WORD, key1 + KEY_STEPS[1] & WORD
    return c0, c1, c2, c3


def _product(words: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """The upper and the lower 32 bits, from halves, as the whole does not fit an int64."""
    upper, lower = words * (factor >> 16), words * (factor & 0xFFFF)
    whole = (upper & 0xFFFF) * 2**16 + lower
    return (upper >> 16) + (whole >> 32), whole & WORD


def round_stochastically(x: Tensor, words: Tensor) -> Tensor:
    """fp32 `x` in bf16, up or down by the upper 16 bits of `words`; what is not finite stays as it is."""
    moved = (x.view(torch.int32) + (words >> 16).to(torch.int32)) & ~0xFFFF
    return torch.where(x.isfinite(), moved.view(torch.float32), x).bfloat16()


@jit
def random_words_of(seed, places, step, ROUNDS: tl.constexpr):
    """`random_words` of int64 places."""
    low, high = places.to(tl.uint32), (places >> 32).to(tl.uint32)
    zeros = tl.zeros_like(low)
    return tl.philox(seed, low, high, (zeros + step).to(tl.uint32), zeros, ROUNDS)


@jit
def rounded_stochastically(x, words):
    """`round_stochastically`."""
    moved = (x.to(tl.uint32, bitcast=True) + (words >> 16)) & 0xFFFF0000
    return tl.where(tl.abs(x) < float("inf"), moved.to(tl.float32, bitcast=True), x).to(tl.bfloat16)
