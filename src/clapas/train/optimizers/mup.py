"""muP: the learning rate found on a narrow model serves a wide one (Yang et al., 2022, Tensor Programs V).

Only initial weights and learning rates change with the width, never the forward pass, so an export needs no code of
ours. That is the paper's table 3, with r = hidden_size / base_width and Adam:

    role                    initial std    lr under Adam, Lion    lr under Muon     why
    embedding               1              1                      1                 its fan-in, the vocabulary, is fixed
    vector                  1              1                      1
    matrix                  1 / sqrt(r)    1 / r                  1 / sqrt(r)       fan-in and fan-out grow
    head, router            1 / r          1 / r                  1 / r             fan-in grows, fan-out is fixed

Why: a sum of n products of independent weights grows as sqrt(n), hence the std of a matrix. An update is correlated
with its input, so its products add up as n: Adam's entries of size lr move the output by lr n, hence 1 / r. Muon's
update has entries of 0.2 lr too, but all its singular values are equal, 0.2 lr sqrt(n): it moves the output by that,
hence 1 / sqrt(r) (the spectral condition: Yang, Simon & Bernstein, 2023). After training the head's weights are
correlated with their input as well, so their initial std must fall as fast, or logits would grow as sqrt(r) first.

Attention keeps 1 / sqrt(head_dim): the paper wants 1 / head_dim, which is the same where head_dim does not change, and
here it must not: a wider model has more heads. `intermediate_size` and the key-value heads grow like the width.
A tied embedding cannot follow two rows of the table without a multiplier in the forward pass, and is refused.

Decoupled weight decay multiplies weights by 1 - lr * weight_decay a step. What transfers over widths is that product
(Wang & Aitchison, 2024), so `weight_decay` is divided by what `lr` is multiplied with.
"""

from __future__ import annotations

import math

from clapas.train.config import OptimizerConfig
from clapas.train.optimizers.roles import Role


def width_ratio(config: OptimizerConfig, hidden_size: int) -> float:
    """r, the model's width over the base's; 1 without muP."""
    return 1.0 if config.mup is None else hidden_size / config.mup.base_width


def std_scale(role: Role, ratio: float) -> float:
    """What the standard deviation of a parameter's initial weights is multiplied with."""
    if role in ("head", "router"):
        return 1 / ratio
    return 1 / math.sqrt(ratio) if role == "matrix" else 1.0


def lr_scale(role: Role, ratio: float, orthogonalised: bool) -> float:
    """What the learning rate of a parameter is multiplied with. orthogonalised: by Muon."""
    if role in ("embedding", "vector"):
        return 1.0
    return 1 / math.sqrt(ratio) if orthogonalised else 1 / ratio
