"""Frozen parameters keep their values; a pattern that names nothing is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.ledger.ledger import read_json_lines
from clapas.model.build import build_model
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas.train.callbacks.freezing import Freezing
from commands import Clapas


def frozen(*patterns: str) -> set[str]:
    """The names of the test model's parameters that these patterns freeze."""
    recipe = read_recipe("test", [f"train.freeze=[{', '.join(patterns)}]"])
    model = build_model(recipe.model)
    Freezing(recipe).on_build(model)
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_patterns_name_parameters() -> None:
    """`*` stands for any text, dots included; a tied head is the embedding."""
    assert frozen("model.embed_tokens*") == {"model.embed_tokens.weight"}
    assert frozen("lm_head.weight") == {"model.embed_tokens.weight"}
    assert len(frozen("model.layers.0.*")) == 9


def test_a_pattern_that_names_nothing() -> None:
    """Is refused with the nearest name."""
    with pytest.raises(UserError, match=r"names no parameter(.|\n)*model\.embed_tokens\.weight"):
        frozen("model.embed_token.weight")


def test_nothing_left_to_train() -> None:
    """Is refused too."""
    with pytest.raises(UserError, match="nothing is left to train"):
        frozen("model.*", "lm_head.*")


def test_a_run_takes_no_gradient_of_what_is_frozen(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """Two ranks at ZeRO-2 train the rest."""
    overrides = (f"data.path={test_data}", "run_dir=run", "train.steps=2", "schedule.warmup_steps=1")
    frozen = (
        "train.freeze=[model.embed_tokens.weight]",
        "evaluation.every=100",
        "parallel.zero_stage=2",
    )
    result = clapas("train", "test", *overrides, *frozen, "--nproc", 2, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for row in read_json_lines(tmp_path / "run/metrics.jsonl"):
        if "split" not in row:
            parts = {key for key in row if key.startswith("grad_norm/")}
            assert parts == {"grad_norm/attention", "grad_norm/mlp", "grad_norm/norms"}


def test_freezing_makes_another_run() -> None:
    """It is part of the identity where it is used, and leaves that of other runs as it was."""
    plain, other = read_recipe("test"), read_recipe("test", ["train.freeze=[model.norm.weight]"])
    assert "freeze" not in plain.identity("")
    assert plain.identity_hash("") != other.identity_hash("")
