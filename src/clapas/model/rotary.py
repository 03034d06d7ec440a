"""Rotary positions: the angles by which attention turns queries and keys (Su et al., 2021), stretched or not.

All of it in fp32 and in transformers' own order of operations: at position 100,000 one unit in the last place of a
frequency is an angle of 0.01. Shapes: B batch, S sequence, D head_dim.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clapas.model.config import ModelConfig
from clapas.model.rope_scaling_config import LinearScaling, Llama3Scaling, NtkScaling, YarnScaling


def rotary_angles(positions_BS: Tensor, config: ModelConfig, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin of position * frequency, each (B, S, 1, D/2), rounded to `dtype` last.

    positions_BS: integers, (B, S) or (1, S). In bf16 the angles of far positions would be wrong by whole turns.
    """
    frequencies, attention_factor = rotary_frequencies(config, positions_BS.device)
    angles = positions_BS.float()[..., None, None] * frequencies
    return (angles.cos() * attention_factor).to(dtype), (angles.sin() * attention_factor).to(dtype)


def rotary_frequencies(config: ModelConfig, device: torch.device) -> tuple[Tensor, float]:
    """(radians a token of each pair of dimensions, (D/2,), fp32; what cosines and sines are multiplied by)."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device) / config.head_dim
    scaling = config.rope_scaling
    theta = scaling.theta(config.rope_theta, config.head_dim) if isinstance(scaling, NtkScaling) else config.rope_theta
    periods = theta**exponents
    match scaling:
        case None | NtkScaling():
            return 1.0 / periods, 1.0
        case LinearScaling(factor=factor):
            return 1.0 / periods / factor, 1.0
        case Llama3Scaling() as scaling:
            return _llama3(1.0 / periods, scaling), 1.0
        case YarnScaling() as scaling:
            usual = 0.1 * math.log(scaling.factor) + 1.0
            factor = usual if scaling.attention_factor is None else scaling.attention_factor
            return _yarn(periods, scaling, config), factor


def _llama3(frequencies: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Divided where a turn is longer than original / low_freq_factor, kept where shorter than original / high."""
    length, low, high = scaling.original_max_position_embeddings, scaling.low_freq_factor, scaling.high_freq_factor
    turn = 2 * math.pi / frequencies
    is_slow, is_fast = turn > length / low, turn < length / high
    share = (length / turn - low) / (high - low)
    blended = (1 - share) * frequencies / scaling.factor + share * frequencies
    return torch.where(is_slow, frequencies / scaling.factor, torch.where(is_fast, frequencies, blended))


def _yarn(periods: Tensor, scaling: YarnScaling, config: ModelConfig) -> Tensor:
    """A ramp over the dimensions, from those that turn beta_fast times in the original length to beta_slow times."""

    def dimension(turns: float) -> float:
        length, dim = scaling.original_max_position_embeddings, config.head_dim
        return dim * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(config.rope_theta))

    low, high = dimension(scaling.beta_fast), dimension(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, config.head_dim - 1)
    places = torch.arange(len(periods), dtype=torch.float32, device=periods.device)
    kept = 1 - ((places - low) / (high - low if high != low else 0.001)).clamp(0, 1)
    return 1.0 / (scaling.factor * periods) * (1 - kept) + 1.0 / periods * kept
