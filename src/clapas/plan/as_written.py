"""The recipe's own layout, judged: as training judges it on so many ranks, and by the memory of its fullest stage."""

from __future__ import annotations

from dataclasses import replace

from clapas.engine.deepspeed_config import deepspeed_config
from clapas.plan.hardware import Device
from clapas.plan.search import Candidate, candidate
from clapas.plan.setup import Setup, setup_of
from clapas.plan.shape import Shape
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe


def as_written(
    recipe: Recipe, own: Setup, shape: Shape, device: Device, node_gbit: float, node_gb: float | None
) -> Candidate:
    """The recipe as it stands. Its memory is the fullest stage's; None where training would refuse it unseen.

    own: its setup in its longest stage. node_gb: memory of a node, where the site says it.
    """
    if (refusal := refused(recipe, own.ranks)) is not None:
        return Candidate(own, None, None, refusal)
    setups = dict.fromkeys(setup_of(recipe, own.ranks, own.ranks_per_node, phase=phase) for phase in recipe.phases)
    judged = [candidate(shape, setup, device, node_gbit) for setup in setups]
    fullest = max(judged, key=lambda one: one.memory.total if one.memory else 0.0)
    assert fullest.memory is not None
    problem, host_gb = fullest.problem, fullest.memory.on_host * min(own.ranks, own.ranks_per_node) / 1e9
    if problem is None and node_gb is not None and host_gb > node_gb:
        problem = f"offloading needs {host_gb:,.0f} GB of a node's memory, which has {node_gb:,.0f} GB"
    return replace(candidate(shape, own, device, node_gbit), memory=fullest.memory, problem=problem)


def refused(recipe: Recipe, ranks: int) -> str | None:
    """Why training would refuse a recipe on so many ranks; None: it would not."""
    try:
        deepspeed_config(recipe, ranks)
    except UserError as error:
        found = "" if error.found is None else f": {error.found}"
        return f"{error.what}{found}" + (f" (way out: {error.way_out})" if error.way_out else "")
    return None
