"""The symmetric products of Newton-Schulz: half of the tiles, each stored twice."""

from __future__ import annotations

import torch

from clapas_kernels.newton_schulz import COEFFICIENTS, symmetric_product
from clapas_kernels.proof.cases import Launch, case, random

BF16 = torch.bfloat16.itemsize
WIDE_ON_AMD = 0.8
"""CDNA's matrix cores leave a lane four neighbours of a column: the tile's store down its columns is 64 bits wide."""
SHAPES = [{"size": 256, "depth": 512}, {"size": 384, "depth": 384}]


@case("orthogonalise", "gram matrix", SHAPES, ratio_at_most=1.00, wide_at_least=WIDE_ON_AMD)
def gram_matrix(size: int, depth: int) -> Launch:
    """Reads X, writes X X^T: M N + M^2 elements. At M = 256, N = 512: 393,216 bytes. Three tiles of four are computed,
    and the issued bytes of X are those of three."""
    x = random(1, size, depth)
    return Launch(lambda: symmetric_product(x), (x,), (size * depth + size * size) * BF16)


@case("orthogonalise", "polynomial", [{"size": 256}], ratio_at_most=1.00, wide_at_least=WIDE_ON_AMD)
def polynomial(size: int) -> Launch:
    """Reads A, writes b A + c A A: 2 M^2 elements."""
    gram = symmetric(random(1, size, size))
    _, b, c = COEFFICIENTS
    return Launch(lambda: symmetric_product(gram, c, b), (gram,), 2 * size * size * BF16)


def symmetric(x: torch.Tensor) -> torch.Tensor:
    """Its symmetric part."""
    return (x + x.mT) / 2
