"""Rotary positions in config.json: said in each place where a reader looks, and contradictions refused."""

from __future__ import annotations

from typing import Any

import pytest

from clapas.model.hf_config import from_hf_config, to_hf_config
from clapas.recipe.errors import UserError
from model.shapes import YARN, config_of

SCALED = ("positions interpolated", "positions as Llama 3.1", "positions by YaRN", "YaRN, every key")


def fields_of(shape: str = "shared key-value heads") -> dict[str, Any]:
    """config.json of a shape."""
    return to_hf_config(config_of(shape), eos=5, bos=6, pad=7, dtype="bfloat16")


@pytest.mark.parametrize("shape", SCALED)
def test_a_scaling_stands_in_both_places(shape: str) -> None:
    """vLLM and llama.cpp read `rope_scaling` and `rope_theta`, transformers 5 `rope_parameters`."""
    fields = fields_of(shape)
    assert fields["rope_parameters"] == {**fields["rope_scaling"], "rope_theta": fields["rope_theta"]}


@pytest.mark.parametrize("dropped", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("shape", SCALED)
def test_either_place_suffices(shape: str, dropped: str) -> None:
    """A file of either generation means the same."""
    fields = fields_of(shape)
    del fields[dropped]
    assert from_hf_config(fields) == config_of(shape)


def test_old_names_and_missing_lengths_are_read_as_transformers_reads_them() -> None:
    """`type` for `rope_type`; an original length that is not said is max_position_embeddings; null is not said."""
    fields = {**fields_of("positions by YaRN"), "rope_parameters": None}
    fields["rope_scaling"] = {"type": "yarn", "factor": 4.0, "beta_fast": None}
    found = from_hf_config(fields).rope_scaling
    assert found is not None
    assert found.model_dump() == {
        **{"rope_type": "yarn", "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0},
        **{"attention_factor": None, "truncate": True, "original_max_position_embeddings": 64},
    }


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rope_theta": 5.0}, "rope_theta 5.0 and rope_parameters.rope_theta 10000.0"),
        ({"rope_scaling": YARN}, "rope_parameters {'rope_type': 'default', 'rope_theta': 10000.0} and rope_scaling"),
        ({"rope_parameters": None, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "ntk", "factor": 2.0}}, "'ntk'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "longrope", "factor": 2.0}}, "'longrope'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "llama3", "factor": 2.0}}, "llama3.low_freq_factor"),
        ({"rope_parameters": None, "rope_scaling": {**YARN, "mscale": 1.0}}, "yarn.mscale"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "full_attention"),
    ],
)
def test_what_is_turned_otherwise_is_named(changes: dict[str, Any], named: str) -> None:
    """Contradictions, other kinds of scaling, other keys, other positions for some layers."""
    with pytest.raises(UserError) as caught:
        from_hf_config({**fields_of(), **changes})
    assert named in str(caught.value)
