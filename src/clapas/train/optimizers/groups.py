"""The groups of parameters that one set of hyperparameters serves."""

from __future__ import annotations

from typing import Any

from torch import nn

from clapas.train.config import OptimizerConfig
from clapas.train.optimizers.mup import lr_scale
from clapas.train.optimizers.roles import Role, parameter_roles


def parameter_groups(config: OptimizerConfig, model: nn.Module, ratio: float = 1.0) -> list[dict[str, Any]]:
    """The trainable parameters as torch's parameter groups, in the model's order.

    ratio: the width over muP's base. Each group holds `weight_decay`, `lr_scale` (what the run's learning rate is
    multiplied with) and `muon` (whether its matrices are orthogonalised).
    """
    roles, groups = parameter_roles(model), dict[tuple[Any, ...], dict[str, Any]]()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        role = roles[name]
        muon = config.name == "muon" and role == "matrix"
        scale = lr_scale(role, ratio, muon)
        decay = config.weight_decay / scale if decays(role) else 0.0
        settings = {"weight_decay": decay, "lr_scale": scale, "muon": muon, "lr": config.lr * scale}
        groups.setdefault(tuple(settings.values()), {"params": [], **settings})["params"].append(parameter)
    return list(groups.values())


def decays(role: Role) -> bool:
    """Whether weight decay acts on a role.

    Vectors: norms' scales and biases have no growth to hold back. Embeddings: a rare token's row would be decayed in
    every step and trained in few, and a small embedding makes large gradients through the first norm (OLMo 2, 2025).
    A head decays, also where it is the embedding too: else its logits grow.
    """
    return role in ("matrix", "head", "router")
