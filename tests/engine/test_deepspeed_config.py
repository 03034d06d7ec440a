"""What DeepSpeed is told, whole: golden files, and DeepSpeed's own parser reading back every key.

`UPDATE_GOLDEN=1 pytest tests/engine/test_deepspeed_config.py` writes the golden files anew: read the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from pydantic import BaseModel, ValidationError

from clapas.engine.deepspeed_config import Device, deepspeed_config
from clapas.engine.deepspeed_schema import (
    Bf16,
    DataTypes,
    DeepSpeedConfig,
    Fp16,
    Offload,
    TensorParallel,
    ZeroOptimization,
)
from clapas.engine.engine import import_deepspeed
from clapas.recipe.recipe import read_recipe

GOLDEN = Path(__file__).parent / "golden"
LLAMA_7B = (
    "model.hidden_size=4096",
    "model.num_hidden_layers=32",
    "model.num_attention_heads=32",
    "model.num_key_value_heads=32",
    "model.intermediate_size=11008",
    "model.vocab_size=32000",
    "model.max_position_embeddings=4096",
    "model.tie_word_embeddings=false",
    "data.sequence_length=4096",
    "train.global_batch_size=1024",
    "train.micro_batch_size=2",
)


class Case(NamedTuple):
    """A recipe (the test recipe with overrides) on so many ranks of a kind."""

    ranks: int
    device: Device
    overrides: tuple[str, ...]


CASES = {
    "zero0-fp32": Case(1, "cpu", ("parallel.zero_stage=0",)),
    "zero0-bf16": Case(2, "cpu", ("parallel.zero_stage=0", "precision=bf16", "parallel.reduce_precision=bf16")),
    "zero1-bf16": Case(2, "cpu", ("precision=bf16", "train.micro_batch_size=2")),
    "zero2-fp16": Case(4, "cuda", ("parallel.zero_stage=2", "precision=fp16")),
    "zero2-offload": Case(2, "cuda", ("parallel.zero_stage=2", "parallel.offload=cpu", "precision=bf16")),
    "zero3-offload": Case(
        2, "cuda", ("parallel.zero_stage=3", "parallel.offload=cpu", "parallel.offload_parameters=true")
    ),
    "zero3-7b-hpz": Case(
        256, "cuda", (*LLAMA_7B, "precision=bf16", "parallel={zero_stage: 3, hpz: 4, quantized_weights: true}")
    ),
    "tensor-sequence": Case(
        8, "cpu", ("parallel={tensor: 2, sequence: 2}", "model.num_key_value_heads=4", "precision=bf16")
    ),
}


def derived(name: str) -> dict[str, Any]:
    """The configuration of a case."""
    case = CASES[name]
    return deepspeed_config(read_recipe("test", case.overrides), case.ranks, case.device)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    """The derived configuration, key by key.

    `zero3-7b-hpz` by hand. A 7-billion model: embedding and head 2 x 32,000 x 4,096 = 262,144,000; a layer's attention
    4 x 4,096^2 = 67,108,864, its MLP 3 x 4,096 x 11,008 = 135,266,304, its two norms 8,192; 32 layers and the last
    norm: 262,144,000 + 32 x 202,383,360 + 4,096 = 6,738,415,616 parameters. More than BUCKET: buckets of 250,000,000,
    and 50,000,000 gathered ahead. 1,024 samples on 256 ranks are 4 for each: in micro-batches of 2, 2 accumulation
    steps. bf16 weights; gradients added up in fp32 and, as `reduce_precision` is not given, summed over ranks in fp32.
    Groups of 4, the ranks of a node, hold the whole bf16 weights among them; those travel between nodes as int8.
    """
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(derived(name), indent=2) + "\n")
    assert derived(name) == json.loads(path.read_text())


SECTIONS = {
    "zero_optimization": ("zero_config", ZeroOptimization),
    "bf16": ("bfloat16_config", Bf16),
    "fp16": ("float16_config", Fp16),
    "tensor_parallel": ("tensor_parallel_config", TensorParallel),
}
"""Key -> the parser's attribute, and our type of it."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.mark.parametrize("name", CASES)
def test_deepspeed_reads_every_key_as_we_mean_it(name: str) -> None:
    """Its own parser holds each value that we gave, under the name that we gave it."""
    import_deepspeed()
    from deepspeed.runtime.config import DeepSpeedConfig as Parser

    config = derived(name)
    micro, accumulation = config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"]
    config["train_batch_size"] = micro * accumulation  # the parser sees this process alone: one rank's share
    parsed = Parser(config)
    for key, value in config.items():
        if key in SECTIONS:
            assert_section(getattr(parsed, SECTIONS[key][0]), value)
        elif key == "data_types":
            assert parsed.grad_accum_dtype == value["grad_accum_dtype"]
        else:
            assert getattr(parsed, key) == (DTYPES[value] if key == "communication_data_type" else value), key


def assert_section(parsed: BaseModel, given: dict[str, Any]) -> None:
    """Each key of a section by its name or alias."""
    by_key = {field.alias or name: name for name, field in type(parsed).model_fields.items()}
    for key, value in given.items():
        found = getattr(parsed, by_key[key])
        if isinstance(found, BaseModel):
            assert_section(found, value)
        else:
            assert found == value, key


def test_the_golden_files_show_every_key_that_is_ever_written() -> None:
    """So that the two tests above leave none out."""
    written = [derived(name) for name in CASES]
    assert set().union(*written) == set(DeepSpeedConfig.model_fields)
    for key, (_, section) in SECTIONS.items():
        assert set().union(*(config.get(key, {}) for config in written)) == set(section.model_fields)
    assert set(DataTypes.model_fields) == {"grad_accum_dtype"}
    assert set(Offload.model_fields) == {"device", "pin_memory"}


def test_a_key_that_deepspeed_does_not_know_cannot_be_written() -> None:
    """It would take it silently at its top level."""
    with pytest.raises(ValidationError, match="gradient_cliping"):
        DeepSpeedConfig.model_validate({**derived("zero1-bf16"), "gradient_cliping": 1.0})
