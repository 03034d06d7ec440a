"""The optimizer of a recipe."""

from __future__ import annotations

import torch
from torch import nn

from clapas.train.config import OptimizerConfig
from clapas.train.optimizers.groups import parameter_groups
from clapas.train.optimizers.lion import Lion
from clapas.train.optimizers.muon import Muon
from clapas.train.optimizers.schedule_free import ScheduleFreeAdamW


def build_optimizer(config: OptimizerConfig, model: nn.Module, ratio: float = 1.0) -> torch.optim.Optimizer:
    """The optimizer that the recipe names, over the model's trainable parameters.

    ratio: the model's width over muP's base. AdamW is torch's own, with one fused kernel on each device.
    """
    groups = parameter_groups(config, model, ratio)
    if config.name == "lion":
        return Lion(groups, config.lr, config.betas)
    assert config.eps is not None
    if config.name == "schedule_free":
        return ScheduleFreeAdamW(groups, config.lr, config.betas, config.eps)
    adamw = {"lr": config.lr, "betas": config.betas, "eps": config.eps, "fused": True}
    if config.name == "muon":
        assert config.momentum is not None
        return Muon(groups, momentum=config.momentum, **adamw)
    return torch.optim.AdamW(groups, **adamw)
