"""Which parameters share hyperparameters."""

from __future__ import annotations

from typing import Any

import pytest

from clapas.model.build import build_model
from clapas.train.config import OptimizerConfig
from clapas.train.optimizers.build import build_optimizer
from clapas.train.optimizers.groups import parameter_groups
from clapas.train.optimizers.roles import parameter_roles
from model.shapes import config_of


def by_name(config: OptimizerConfig, tied: bool = False, ratio: float = 1.0) -> dict[str, dict[str, Any]]:
    """Parameter name -> its group, of a small model."""
    model = build_model(config_of(tie_word_embeddings=tied))
    groups = parameter_groups(config, model, ratio)
    of = {id(parameter): group for group in groups for parameter in group["params"]}
    return {name: of[id(parameter)] for name, parameter in model.named_parameters()}


def test_matrices_decay_and_nothing_else() -> None:
    """Norms do not; an input embedding does not; a head does, also where it is the embedding."""
    untied, tied = by_name(OptimizerConfig()), by_name(OptimizerConfig(), tied=True)
    for name, group in untied.items():
        is_matrix = not name.endswith(("norm.weight", "embed_tokens.weight"))
        assert group["weight_decay"] == (0.1 if is_matrix else 0.0), name
    assert tied["model.embed_tokens.weight"]["weight_decay"] == 0.1


def test_muon_takes_the_hidden_matrices_only() -> None:
    """Embedding, head and norms are AdamW's."""
    for name, group in by_name(OptimizerConfig(name="muon")).items():
        assert group["muon"] == name.endswith("_proj.weight"), name


def test_frozen_parameters_are_not_the_optimizers() -> None:
    """What a callback froze before is in no group."""
    model = build_model(config_of())
    model.model.embed_tokens.weight.requires_grad_(False)
    optimizer = build_optimizer(OptimizerConfig(), model)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert id(model.model.embed_tokens.weight) not in held
    assert len(held) == len(list(model.parameters())) - 1


def test_roles_are_told_by_module_and_name() -> None:
    """A tied table is the head; a vector is whatever has one dimension."""
    roles = parameter_roles(build_model(config_of(tie_word_embeddings=True)))
    assert roles["model.embed_tokens.weight"] == "head"
    roles = parameter_roles(build_model(config_of(tie_word_embeddings=False)))
    assert roles["model.embed_tokens.weight"] == "embedding"
    assert roles["lm_head.weight"] == "head"
    assert roles["model.norm.weight"] == "vector"
    assert roles["model.layers.0.mlp.up_proj.weight"] == "matrix"


@pytest.mark.parametrize(
    ("name", "option"), [("lion", "eps"), ("adamw", "momentum"), ("schedule_free", "momentum"), ("lion", "momentum")]
)
def test_an_option_of_another_optimizer_is_refused_by_name(name: str, option: str) -> None:
    """Never silently ignored."""
    with pytest.raises(ValueError, match=f"{option}: has no meaning with name: {name}; it belongs to .*muon"):
        OptimizerConfig.model_validate({"name": name, option: 0.5})


def test_a_resolved_optimizer_says_its_defaults() -> None:
    """Each optimizer's own."""
    assert OptimizerConfig(name="lion").betas == (0.9, 0.99)
    assert OptimizerConfig(name="lion").eps is None
    assert OptimizerConfig(name="muon").momentum == 0.95
    assert OptimizerConfig().momentum is None


def test_one_average_at_a_time() -> None:
    """Schedule-Free has its own."""
    with pytest.raises(ValueError, match="ema_decay: has no meaning with name: schedule_free"):
        OptimizerConfig(name="schedule_free", ema_decay=0.99)
