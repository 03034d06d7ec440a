"""Who shares what with whom: the numbering of ranks, and the layouts that a recipe cannot have."""

from __future__ import annotations

import pytest

from clapas.engine.layout import Layout, Place, layout_of
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe, read_recipe

EXPERTS = (
    "model.architecture=qwen3_moe",
    "model.num_experts=4",
    "model.num_experts_per_tok=2",
    "model.moe_intermediate_size=32",
)


def recipe(*overrides: str) -> Recipe:
    """The test recipe: 4 heads, 2 key-value heads, intermediate size 160, sequences of 128."""
    return read_recipe("test", list(overrides))


def test_tensor_ranks_are_nearest_then_sequence_ranks() -> None:
    """Eight ranks as 2 data x 2 sequence x 2 tensor: consecutive ranks are one tensor group."""
    layout = Layout(data=2, sequence=2, tensor=2)
    assert [layout.place(rank) for rank in range(8)] == [
        Place(data, sequence, tensor) for data in (0, 1) for sequence in (0, 1) for tensor in (0, 1)
    ]


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        (Layout(1), "1 rank"),
        (Layout(4), "4 ranks"),
        (Layout(1, tensor=2), "2 tensor ranks"),
        (Layout(2, tensor=2), "2 data x 2 tensor ranks"),
        (Layout(2, sequence=2, tensor=4), "2 data x 2 sequence x 4 tensor ranks"),
    ],
)
def test_a_layout_in_words(layout: Layout, text: str) -> None:
    """Dimensions of size 1 are left out; data ranks alone are just ranks."""
    assert str(layout) == text


def test_ranks_that_do_not_make_whole_copies_are_refused() -> None:
    """Names the ranks of a copy, the multiple wanted and a number of ranks that fits."""
    with pytest.raises(UserError, match=r"(?s)3 ranks.*2 tensor x 1 sequence.*a multiple of 2.*start 4 ranks"):
        layout_of(recipe("parallel.tensor=2"), 3)
    assert layout_of(recipe("parallel.tensor=2"), 4) == Layout(2, 1, 2)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["parallel.tensor=4"], r"parallel.tensor: found 4; must divide model.num_key_value_heads, which is 2; .*1, 2"),
        (["parallel.tensor=2", "model.intermediate_size=161"], "must divide model.intermediate_size, which is 161"),
        (["parallel.sequence=4"], "parallel.sequence: found 4; must divide model.num_key_value_heads, which is 2"),
        (["parallel.tensor=2", "parallel.sequence=2"], "must divide model.num_key_value_heads / parallel.tensor"),
        (["parallel.tensor=2", *EXPERTS], "parallel.tensor: found 2; .* is not cut so: .*zero_stage=3"),
        (["parallel.sequence=2", "data.sequence_length=127"], "must divide data.sequence_length, which is 127"),
    ],
)
def test_what_cannot_be_cut_is_refused_by_name(overrides: list[str], words: str) -> None:
    """Each with the sizes that would do."""
    with pytest.raises(UserError, match=words):
        recipe(*overrides)
