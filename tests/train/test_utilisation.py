"""What is executed for each operation that the model needs."""

from __future__ import annotations

import pytest

from clapas.recipe.recipe import read_recipe
from clapas.train.utilisation import executed_flops


def executed(*overrides: str) -> float:
    """Of the test recipe at its own sequence length."""
    return executed_flops(read_recipe("test", overrides), 128)


def test_nothing_is_executed_twice_by_default() -> None:
    """Nor where only what is cheap is computed again."""
    assert executed() == executed("compute.activation_checkpointing=selective") == 1.0


def test_full_checkpointing_executes_the_layers_forward_twice() -> None:
    """By hand, of one token: a layer multiplies 64 x (2 x 64 + 2 x 32 + 3 x 160) weights and the head 64 x 2,048;
    norms hold 5 x 64; attention is 12 x 2 x 64 x 128. A forward is a third of it."""
    layers = 6 * (2 * 64 * (2 * 64 + 2 * 32 + 3 * 160) + 5 * 64) + 12 * 2 * 64 * 128
    head = 6 * 64 * 2048
    assert executed("compute.activation_checkpointing=full") == pytest.approx(1 + layers / 3 / (layers + head))


def test_tiles_execute_the_feed_forward_layers_forward_twice() -> None:
    """Three products of 64 x 160 in each of two layers, two operations a weight."""
    layers = 6 * (2 * 64 * (2 * 64 + 2 * 32 + 3 * 160) + 5 * 64) + 12 * 2 * 64 * 128
    again = 2 * 2 * 3 * 64 * 160
    assert executed("compute.tiled_mlp=64") == pytest.approx(1 + again / (layers + 6 * 64 * 2048))
