"""Whether ranks that should hold the same weights do: a sum of their bits, and who is the odd one.

The bits of each parameter, read as integers, are summed modulo 2**64: in any order the same number, so that it is one
reduction on the device, and another one whenever a single bit differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By the bytes of an element."""
LOW = 2**32


@torch.no_grad()
def weight_sums(module: torch.nn.Module) -> Tensor:
    """For each parameter (P,) the sum of its bits as it is computed with, int64, on its device."""
    return torch.stack([bit_sum(parameter) for parameter in module.parameters()])


def bit_sum(tensor: Tensor) -> Tensor:
    """The sum of a tensor's elements as integers, modulo 2**64."""
    flat = tensor.detach().contiguous().view(-1)
    return flat.view(INTEGERS[flat.element_size()]).sum(dtype=torch.int64)


def digest(sums_P: Tensor) -> int:
    """One number for all parameters, in which equal changes of two do not cancel: each has an odd factor of its own."""
    factors_P = 2 * torch.arange(len(sums_P), device=sums_P.device) + 1
    return int((sums_P * factors_P).sum())


def as_floats(number: int) -> list[float]:
    """A number of 64 bits as two float64, exactly: what `Ranks.gather` takes."""
    high, low = divmod(number % 2**64, LOW)
    return [float(high), float(low)]


def odd_ones(held: Mapping[int, Hashable]) -> list[int]:
    """The ranks that hold something else than most do; all of them where there is no majority; none if all agree."""
    (most, count), *others = Counter(held.values()).most_common()
    if not others:
        return []
    return [rank for rank, value in held.items() if value != most or 2 * count <= len(held)]


def names(module: Any) -> list[str]:
    """The parameters' names, in the order of `weight_sums`."""
    return [name for name, _ in module.named_parameters()]
