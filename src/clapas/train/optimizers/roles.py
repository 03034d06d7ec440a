"""What a parameter is for: an optimizer, a weight decay and a width treat each role in its own way."""

from __future__ import annotations

from typing import Literal

from torch import nn

Role = Literal["embedding", "head", "router", "matrix", "vector"]
"""embedding: a look-up table that is not the head too. head: what makes logits of hidden states, also where it is the
embedding. router: what chooses the experts of a token. matrix: every other parameter of two dimensions or more.
vector: norms and biases."""

HEAD = "lm_head.weight"
ROUTER = "mlp.gate.weight"
"""Hugging Face's names (Qwen3-MoE's for the router)."""


def parameter_roles(model: nn.Module) -> dict[str, Role]:
    """Each parameter's name -> its role; tied parameters once, under their first name, as `named_parameters` has it."""
    every = list(model.named_parameters(remove_duplicate=False))
    heads = {id(parameter) for name, parameter in every if name.endswith(HEAD)}
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return {name: _role(name, parameter, heads, tables) for name, parameter in model.named_parameters()}


def _role(name: str, parameter: nn.Parameter, heads: set[int], tables: set[int]) -> Role:
    if id(parameter) in heads:
        return "head"
    if id(parameter) in tables:
        return "embedding"
    if len(getattr(parameter, "ds_shape", parameter.shape)) < 2:  # of one that ZeRO-3 has cut already
        return "vector"
    return "router" if name.endswith(ROUTER) else "matrix"
