"""Norms by part of the model, from pieces of flat tensors."""

from __future__ import annotations

import pytest
import torch

from clapas.engine.slots import Slot
from clapas.train.telemetry.norms import GROUPS, Pieces, group_of
from clapas.train.telemetry.time_split import straggler


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("model.layers.3.self_attn.q_proj.weight", "attention"),
        ("model.layers.3.self_attn.q_norm.weight", "norms"),
        ("model.layers.3.mlp.down_proj.weight", "mlp"),
        ("model.layers.3.mlp.experts.7.up_proj.weight", "mlp"),
        ("model.layers.3.input_layernorm.weight", "norms"),
        ("model.norm.weight", "norms"),
        ("lm_head.weight", "head"),
        ("adapter.weight", "other"),
    ],
)
def test_parts_go_by_hugging_face_names(name: str, group: str) -> None:
    """Of a Llama or Qwen model."""
    assert group_of(name) == group


def test_squares_of_pieces_add_up_to_those_of_the_parts() -> None:
    """A flat partition with two parameters of one part, one of another, and padding at its end."""
    flat = torch.arange(1.0, 11.0)
    found = [
        Slot("model.layers.0.mlp.up_proj.weight", (4,), 0, 4, flat, 0),
        Slot("model.norm.weight", (2,), 0, 2, flat, 4),
        Slot("model.layers.1.mlp.up_proj.weight", (8,), 3, 2, flat, 6),
        Slot("lm_head.weight", (8,), 8, 0, flat, 8),
    ]
    squares = torch.zeros(len(GROUPS), dtype=torch.float64)
    Pieces(found).add_squares(id(flat), flat, squares)
    expected = {"mlp": 1 + 4 + 9 + 16 + 49 + 64, "norms": 25 + 36}
    assert squares.tolist() == pytest.approx([expected.get(group, 0.0) for group in GROUPS])


def test_the_straggler_and_by_how_much() -> None:
    """Against the median, which one slow rank does not move."""
    assert straggler([1.0, 1.0, 1.5, 1.0]) == {"slowest_rank": 2, "slowest_rank_excess": pytest.approx(0.5)}
