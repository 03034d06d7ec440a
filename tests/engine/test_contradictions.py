"""What cannot work is told before a process starts, with the recipe's line and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.engine.deepspeed_config import check_device, deepspeed_config
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe, read_recipe


def recipe_of(folder: Path, *lines: str) -> Recipe:
    """The test recipe under these lines: the first of them is line 2 of mine.yaml."""
    path = folder / "mine.yaml"
    path.write_text("\n".join(("extends: test", *lines)) + "\n")
    return read_recipe(path)


def refusal(folder: Path, ranks: int, *lines: str) -> str:
    """The message with which a recipe on so many ranks is refused."""
    with pytest.raises(UserError) as caught:
        deepspeed_config(recipe_of(folder, *lines), ranks)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        (("precision: fp8",), 2, ("fp8 is not offered yet", "kernels", "precision: bf16")),
        (("precision: int8",), 2, ("precision: found 'int8'", "'fp32', 'bf16' or 'fp16'")),
        (("parallel:", "  zero_stage: 0", "  offload: cpu"), 4, ("nothing to move at zero_stage 0", "zero_stage: 1")),
        (("parallel:", "  offload_parameters: true"), 3, ("offload_parameters: needs zero_stage: 3 and offload: cpu",)),
        (("parallel:", "  hpz: 2"), 3, ("hpz: has a meaning at zero_stage 3 only; found zero_stage 1",)),
        (("parallel:", "  quantized_weights: true"), 3, ("quantized_weights: has a meaning at zero_stage 3 only",)),
        (("parallel:", "  zero_stage: 2", "  quantized_gradients: true"), 4, ("at zero_stage 3 only",)),
        (("precision: bf16", "parallel: {tensor: 2, zero_stage: 0}"), 3,
         ("found 0 with parallel.tensor: 2 and precision: bf16", "zero_stage: 1")),
        (("parallel: {tensor: 2}", "compute:", "  activation_checkpointing: selective"), 4,
         ("found selective with parallel.tensor: 2", "none or full")),
        (("parallel:", "  pipeline: 2"), 3, ("pipeline parallelism is not offered", "70B", "zero_stage: 3")),
        (("parallel:", "  mics: 8"), 3, ("MiCS is not offered", "DeepSpeed removed it", "hpz")),
        (("parallel:", "  offload: nvme"), 3, ("nvme is not offered", "compiles", "offload: cpu")),
        (("parallel:", "  offload: disk"), 3, ("found 'disk'", "'none' or 'cpu'")),
        (("parallel:", "  reduce_precision: bf16"), 3, ("found bf16; must be fp32",)),
        (("precision: bf16", "parallel: {reduce_precision: fp16}"), 3, ("must be fp32 or the run's precision",)),
        (("parallel:", "  zero_hpz_partition_size: 2"), 3, ("unknown key; did you mean parallel.hpz?",)),
    ],
)  # fmt: skip
def test_a_recipe_that_no_number_of_ranks_can_train(
    tmp_path: Path, lines: tuple[str, ...], line: int, words: tuple[str, ...]
) -> None:
    """Refused as it is read."""
    message = refusal(tmp_path, 1, *lines)
    assert message.startswith(f"{tmp_path}/mine.yaml:{line}: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("ranks", "lines", "words"),
    [
        (3, ("train: {global_batch_size: 8}",), ("8 samples on 3 ranks", "train.global_batch_size=9")),
        (2, ("train: {micro_batch_size: 8}",), ("leave 4 each", "one of 1, 2, 4", "train.micro_batch_size=4")),
        (4, ("parallel: {zero_stage: 3, hpz: 3}",), ("groups of 3 on 4 ranks", "one of 2", "parallel.hpz=2")),
        (2, ("parallel: {zero_stage: 3, hpz: 2}",), ("groups of 2 on 2 ranks", "more ranks", "parallel.hpz=1")),
        (3, ("parallel: {tensor: 2}",), ("one copy takes 2 tensor x 1 sequence",)),
        (8, ("parallel: {zero_stage: 3, hpz: 2, tensor: 2}",), ("hpz", "tensor")),
        (1, ("parallel: {zero_stage: 0}", "precision: bf16", "train: {micro_batch_size: 2}"),
         ("cannot accumulate bf16 gradients in fp32", "4 micro-batches a step", "parallel.zero_stage=1")),
    ],
)  # fmt: skip
def test_a_recipe_that_this_number_of_ranks_cannot_train(
    tmp_path: Path, ranks: int, lines: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """Refused where the ranks are known."""
    message = refusal(tmp_path, ranks, *lines)
    assert message.startswith(f"{tmp_path}/mine.yaml:2: ")
    for word in words:
        assert word in message


def test_quantised_communication_needs_a_gpu(tmp_path: Path) -> None:
    """DeepSpeed has it in CUDA code only; the recipe's line and the way out are told."""
    recipe = recipe_of(tmp_path, "parallel:", "  zero_stage: 3", "  quantized_weights: true")
    check_device(recipe, "cuda")
    with pytest.raises(UserError, match=r"mine\.yaml:4: parallel\.quantized_weights needs a GPU"):
        check_device(recipe, "cpu")
