"""muP: what is tuned narrow serves wide. The coordinate check of Yang et al. (2022), appendix D.1."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clapas.model.build import build_model
from clapas.model.config import ModelConfig
from clapas.model.init import initialise
from clapas.train.config import MupConfig, OptimizerConfig
from clapas.train.optimizers.build import build_optimizer
from clapas.train.optimizers.groups import parameter_groups
from clapas.train.optimizers.muon import Muon
from clapas.train.optimizers.mup import lr_scale, std_scale, width_ratio
from clapas.train.optimizers.roles import parameter_roles
from train.optimizers.plain import plain_slots

STEPS = 4
LR = {"adamw": 0.003, "lion": 0.0006, "muon": 0.003, "schedule_free": 0.003}


def model_of(width: int, ratio: float) -> Any:
    """Two layers of a width, with heads of 16, initialised as a run does it."""
    config = ModelConfig(
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=width // 16,
        intermediate_size=2 * width,
        vocab_size=128,
        max_position_embeddings=32,
    )
    model = build_model(config)
    initialise(model, 0, {name: std_scale(role, ratio) for name, role in parameter_roles(model).items()})
    return model


def changes(width: int, config: OptimizerConfig) -> dict[str, float]:
    """Root mean square of what STEPS steps change in each layer's output and in the logits."""
    ratio = width_ratio(config, width)
    model = model_of(width, ratio)
    optimizer = build_optimizer(config, model, ratio)
    if isinstance(optimizer, Muon):
        optimizer.bind(plain_slots(model), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 128, (4, 33), generator=generator)
    before = outputs(model, tokens[:, :-1])
    for _ in range(STEPS):
        objective, _ = model(tokens[:, :-1], targets_BS=tokens[:, 1:])
        (objective / tokens[:, 1:].numel()).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = outputs(model, tokens[:, :-1])
    return {name: (after[name] - before[name]).square().mean().sqrt().item() for name in before}


@torch.no_grad()
def outputs(model: Any, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """What each part of the model puts out."""
    found: dict[str, torch.Tensor] = {}
    parts = {"embedding": model.model.embed_tokens, "logits": model.lm_head}
    parts |= {f"attention {n}": layer.self_attn for n, layer in enumerate(model.model.layers)}
    parts |= {f"mlp {n}": layer.mlp for n, layer in enumerate(model.model.layers)}

    def keep(name: str, output: Any) -> None:
        found[name] = output[0] if isinstance(output, tuple) else output  # beside it: the experts' balance

    hooks = [
        part.register_forward_hook(lambda _module, _inputs, output, name=name: keep(name, output))
        for name, part in parts.items()
    ]
    model(tokens)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize(
    ("name", "widths"),
    [("adamw", (64, 128, 256, 512)), ("lion", (64, 256)), ("muon", (64, 256)), ("schedule_free", (64, 256))],
)
def test_coordinate_check(name: Any, widths: tuple[int, ...]) -> None:
    """What a few steps change in each part's output is the same at every width under muP, and grows without it."""
    with_mup = OptimizerConfig(name=name, lr=LR[name], mup=MupConfig(base_width=widths[0]))
    flat = [changes(width, with_mup) for width in widths]
    steep = [changes(width, OptimizerConfig(name=name, lr=LR[name])) for width in (widths[0], widths[-1])]
    for part in flat[0]:
        sizes = [change[part] for change in flat]
        assert max(sizes) < 2 * min(sizes), f"{part}: {sizes}"
        if part != "embedding":  # its fan-in is the vocabulary
            assert steep[1][part] > 2.5 * steep[0][part], part


def test_at_the_base_width_muP_is_the_standard() -> None:  # noqa: N802 its name
    """Nothing is scaled there; and without muP nowhere."""
    assert width_ratio(OptimizerConfig(mup=MupConfig(base_width=64)), 64) == 1
    assert width_ratio(OptimizerConfig(), 512) == 1
    for role in ("embedding", "head", "router", "matrix", "vector"):
        assert std_scale(role, 1.0) == lr_scale(role, 1.0, orthogonalised=False) == 1


def test_the_table_of_the_paper() -> None:
    """At four times the width, as table 3 has it; Muon by the spectral condition."""
    scales = {role: (std_scale(role, 4.0), lr_scale(role, 4.0, False)) for role in ("embedding", "head", "matrix")}
    assert scales == {"embedding": (1, 1), "head": (0.25, 0.25), "matrix": (0.5, 0.25)}
    assert lr_scale("matrix", 4.0, orthogonalised=True) == 0.5
    assert std_scale("router", 4.0) == lr_scale("router", 4.0, False) == 0.25


def test_the_share_that_decays_is_the_same_at_every_width() -> None:
    """weight_decay is divided by what the learning rate is multiplied with."""
    config = OptimizerConfig(mup=MupConfig(base_width=16), weight_decay=0.1)
    groups = parameter_groups(config, model_of(64, 4.0), ratio=4.0)
    assert {(group["lr_scale"], group["weight_decay"]) for group in groups} == {(1.0, 0.0), (0.25, 0.4)}
    assert all(group["lr_scale"] * group["weight_decay"] in (0.0, 0.1) for group in groups)
