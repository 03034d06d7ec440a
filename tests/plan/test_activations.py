"""What our decoder holds between forward and backward, as planned and as measured, to 5 %."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from clapas.model import operations
from clapas.model.compute import apply_compute
from clapas.model.config import ComputeConfig, ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.lora import add_adapters
from clapas.model.lora_config import LoraConfig
from clapas.plan import activations
from clapas.plan.activations import activations_of
from clapas.plan.setup import Setup
from clapas.plan.shape import Shape, shape_of
from clapas.recipe.recipe import Recipe
from clapas_kernels import linear_cross_entropy

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOLERANCE = 0.05
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 192,
    "vocab_size": 512,
    "max_position_embeddings": 2048,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 96}


class Storages(TorchDispatchMode):
    """Every storage that an operation has made, so that those still held can be counted afterwards.

    `saved_tensors_hooks` would not see what selective checkpointing keeps, which is beside autograd.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                self._made[reference.cdata] = (reference, storage.nbytes())
        return result

    def held(self, model: torch.nn.Module) -> int:
        """Bytes of those that are still there, but for the weights, of which views were made."""
        gc.collect()
        weights = {StorageWeakRef(parameter.untyped_storage()).cdata for parameter in model.parameters()}
        made = {place: size for place, (reference, size) in self._made.items() if not reference.expired()}
        return sum(size for place, size in made.items() if place not in weights)


def measured_layers(config: ModelConfig, setup: Setup, lora: LoraConfig | None = None) -> int:
    """Bytes held by two layers after forward: the difference between models of three layers and of one."""
    held = []
    for layers in (1, 3):
        model = CausalLM(config.model_copy(update={"num_hidden_layers": layers})).to(DTYPES[setup.precision])
        compute = ComputeConfig(activation_checkpointing=setup.checkpointing, tiled_mlp=setup.tile, compile=False)
        apply_compute(model, compute)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        if lora is not None:
            add_adapters(model, lora, 0, dtype=DTYPES[setup.precision])
        tokens = torch.randint(0, config.vocab_size, (setup.micro_batch, setup.sequence_length))
        with Storages() as storages:
            result = model(tokens, targets_BS=tokens)
        held.append(storages.held(model))
        del result
    return held[1] - held[0]


CASES = [
    ("llama", "bf16", 128, "none", None),
    ("llama", "bf16", 128, "selective", None),
    ("llama", "bf16", 128, "full", None),
    ("llama", "fp32", 256, "none", None),
    ("qwen3_moe", "bf16", 128, "none", None),
    ("llama", "fp32", 256, "selective", None),
    ("llama", "fp32", 640, "none", None),
    ("qwen2", "bf16", 128, "none", None),
    ("qwen3", "bf16", 128, "none", None),
    ("qwen3", "fp32", 640, "selective", None),
    ("llama", "bf16", 128, "none", 32),
]
QUICK = 5
"""The first of them run in the default tests."""


@pytest.mark.parametrize(
    ("architecture", "precision", "sequence_length", "checkpointing", "tile"),
    [*CASES[:QUICK], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[QUICK:])],
)
def test_layers(architecture: Any, precision: str, sequence_length: int, checkpointing: Any, tile: int | None) -> None:
    """Each checkpointing policy, both precisions, each architecture, fused and short attention, tiles."""
    experts = EXPERTS if architecture == "qwen3_moe" else {}
    values = {**SIZES, **experts, "architecture": architecture, "num_hidden_layers": 2}
    config = ModelConfig.model_validate(values)
    setup = Setup(1, 1, sequence_length, 2, checkpointing=checkpointing, tile=tile, precision=precision)
    shape = Shape(
        **{name: size for name, size in SIZES.items() if name != "max_position_embeddings"},
        num_hidden_layers=2,
        head_dim=16,
        head_norms=architecture.startswith("qwen3"),
        experts=8 if experts else 0,
        experts_per_token=2 if experts else 0,
        expert_size=96 if experts else 0,
    )
    edges = setup.tokens_per_micro_batch * (shape.hidden_size * setup.width + 8)
    planned = activations_of(shape, setup, 1e9, on_cpu=True).layers - edges
    assert measured_layers(config, setup) == pytest.approx(planned, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("lora", "changes"),
    [
        ({"rank": 8}, {}),
        ({"rank": 8, "targets": ["q_proj", "v_proj"]}, {}),
        ({"rank": 8, "dora": True}, {}),
        ({"rank": 8}, {"checkpointing": "selective"}),
        ({"rank": 8, "dora": True}, {"checkpointing": "full"}),
        ({"rank": 8}, {"tile": 32}),
    ],
    ids=str,
)
def test_layers_with_adapters(lora: dict[str, Any], changes: dict[str, Any]) -> None:
    """What A and B read stays; what a frozen projection alone would read does not."""
    adapters = LoraConfig.model_validate(lora)
    config = ModelConfig.model_validate({**SIZES, "num_hidden_layers": 2})
    setup = Setup(1, 1, 128, 2, precision="bf16", **changes)
    recipe = {"name": "x", "model": config.facts(), "lora": lora, "train": {"steps": 1, "global_batch_size": 1}}
    shape = shape_of(Recipe.model_validate({**recipe, "data": {"path": "x", "sequence_length": 128}}))
    edges = setup.tokens_per_micro_batch * (shape.hidden_size * setup.width + 8)
    planned = activations_of(shape, setup, 1e9, on_cpu=True).layers - edges
    assert measured_layers(config, setup, adapters) == pytest.approx(planned, rel=TOLERANCE)


def test_constants_are_the_models() -> None:
    """The planner knows no torch: what it assumes of the model is compared here."""
    assert operations.SHORT_ATTENTION == activations.SHORT_ATTENTION
    module = __import__("clapas_kernels.linear_cross_entropy", fromlist=["ROWS"])
    assert (module.ROWS, module.SHARE_OF_MEMORY) == (activations.ROWS_OF_LOSS, activations.SHARE_OF_LOSS)
    assert (module.LOGITS_ON_CPU, module.ROWS_ON_CPU) == (activations.LOGITS_ON_CPU, activations.ROWS_ON_CPU)
    assert callable(linear_cross_entropy)
