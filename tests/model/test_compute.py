"""Ways to compute the decoder: what each keeps in memory, and that none changes a bit of the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest
import torch
from torch._dynamo.utils import counters
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clapas.ledger.ledger import read_json_lines
from clapas.model.build import build_model
from clapas.model.config import ComputeConfig
from clapas.model.decoder import MLP, CausalLM
from commands import Clapas
from model.shapes import config_of, model_of, tokens_of

Kind = Literal["none", "selective", "full"]
KINDS: tuple[Kind, ...] = ("none", "selective", "full")


def computed(shape: str, compute: ComputeConfig) -> CausalLM:
    """A model of a shape, with weights that are the same for each way to compute it."""
    config = config_of(shape)
    model = build_model(config, compute)
    model.load_state_dict(model_of(config).state_dict())
    return model


def loss_and_gradients(model: CausalLM) -> list[torch.Tensor]:
    """Of a batch with two documents a row."""
    tokens_BS = tokens_of(model.config)
    documents_BS = (torch.arange(tokens_BS.shape[1]) // 40).expand_as(tokens_BS)
    objective, losses_B = model(tokens_BS, document_ids_BS=documents_BS, targets_BS=tokens_BS.roll(-1, 1))
    return [objective.detach(), losses_B, *torch.autograd.grad(objective, list(model.parameters()))]


@pytest.mark.parametrize("shape", ["shared key-value heads", "long"])
@pytest.mark.parametrize("kind", ["selective", "full"])
def test_checkpointing_changes_no_bit(shape: str, kind: Kind) -> None:
    """Loss and gradients, bit for bit."""
    plain = loss_and_gradients(computed(shape, ComputeConfig()))
    found = loss_and_gradients(computed(shape, ComputeConfig(activation_checkpointing=kind)))
    assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))


def test_checkpointing_holds_less() -> None:
    """Bytes that the forward pass holds for the backward pass, weights apart: none > selective > full."""
    held = {kind: held_bytes(computed("long", ComputeConfig(activation_checkpointing=kind))) for kind in KINDS}
    assert held["none"] > 1.1 * held["selective"]  # the gated product is not held in any case
    assert held["selective"] > 2 * held["full"]


def held_bytes(model: CausalLM) -> int:
    """Bytes that a forward pass leaves alive, between it and the backward pass: what the graph holds."""
    tokens_BS = tokens_of(model.config)
    with Allocations() as allocations:
        outputs = model(tokens_BS, targets_BS=tokens_BS.roll(-1, 1))
    held = allocations.alive()
    del outputs
    return held - allocations.alive()


@pytest.mark.parametrize(
    "compute",
    [
        ComputeConfig(compile=True),
        pytest.param(ComputeConfig(compile=True, activation_checkpointing="selective"), marks=pytest.mark.slow),
        pytest.param(ComputeConfig(compile=True, activation_checkpointing="full"), marks=pytest.mark.slow),
        pytest.param(ComputeConfig(compile=True, tiled_mlp=300), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_one_layer_is_compiled_for_all(compute: ComputeConfig) -> None:
    """Loss and gradients up to rounding, and one graph without a break, whatever the number of layers."""
    shape = "Qwen3"
    plain = loss_and_gradients(computed(shape, ComputeConfig()))
    torch.compiler.reset()
    counters.clear()
    for found, want in zip(loss_and_gradients(computed(shape, compute)), plain, strict=True):
        torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))
    assert (counters["stats"]["unique_graphs"], dict(counters["graph_break"])) == (1, {})


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2])
def test_training_compiled_is_training(tmp_path: Path, clapas: Clapas, test_data: Path, stage: int) -> None:
    """Two ranks under DeepSpeed, on packed documents: the losses of an uncompiled run."""
    losses = {}
    for compiled in ("false", "true"):
        few = (
            "train.steps=3",
            "schedule.warmup_steps=1",
            "evaluation.every=100",
            f"parallel.zero_stage={stage}",
        )
        where = (f"data.path={test_data}", f"run_dir=run-{compiled}", f"compute.compile={compiled}")
        result = clapas("train", "test", *where, *few, "--nproc", 2, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        losses[compiled] = [row["loss"] for row in read_json_lines(tmp_path / f"run-{compiled}" / "metrics.jsonl")]
    assert losses["true"] == pytest.approx(losses["false"], rel=1e-5)


@pytest.mark.parametrize("kind", ["none", "full"])
def test_tiles_give_the_same(kind: Kind) -> None:
    """Tiles that do not divide the tokens: loss and gradients up to sums in another order."""
    plain = loss_and_gradients(computed("long", ComputeConfig()))
    tiled = loss_and_gradients(computed("long", ComputeConfig(tiled_mlp=300, activation_checkpointing=kind)))
    for found, want in zip(tiled, plain, strict=True):
        torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


def test_the_wide_activations_exist_for_one_tile() -> None:
    """At the peak of a feed-forward layer, forward and backward, the bytes beyond input and output are a tile's."""
    tile, config = 64, config_of("long", intermediate_size=2048)
    wide_bytes = 4 * tile * config.intermediate_size
    peaks = {}
    for tiles in (None, tile):
        mlp = MLP(config)
        mlp.tile = tiles
        x_BSE = torch.randn(2, 640, config.hidden_size, requires_grad=True)
        with Allocations() as allocations:
            mlp(x_BSE)[0].sum().backward()
        gradients = sum(parameter.nbytes for parameter in mlp.parameters())
        peaks[tiles] = allocations.peak - 2 * gradients - 4 * x_BSE.nbytes
    assert peaks[tile] < 8 * wide_bytes
    assert peaks[None] > 3 * (2 * 640 // tile) * wide_bytes


class Allocations(TorchDispatchMode):
    """Every storage that an operation makes, and whether something still holds it. peak: most bytes held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                reference = StorageWeakRef(tensor.untyped_storage())
                self._made[reference.cdata] = reference, tensor.untyped_storage().nbytes()
        self.peak = max(self.peak, self.alive())
        return made

    def alive(self) -> int:
        """Bytes of the storages that are not freed."""
        return sum(size for reference, size in self._made.values() if not reference.expired())


def test_tiles_and_selective_checkpointing_contradict_each_other() -> None:
    """Said with the way out."""
    with pytest.raises(pydantic.ValidationError, match="use none or full"):
        ComputeConfig(tiled_mlp=64, activation_checkpointing="selective")
