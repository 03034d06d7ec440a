"""A checkpoint soup: one model that is the mean of several checkpoints' weights (Wortsman et al., 2022).

The checkpoints of one run near its end, or of runs that differ in data or seed after a common start.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from clapas.checkpoint.by_slices import FILE_ELEMENTS, Slice, write_by_slices
from clapas.checkpoint.format import Weights
from clapas.checkpoint.reader import CheckpointReader, open_checkpoint
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash

BEGINNING = ("from", "from_seal", "other_tokenizer")
"""Keys of a recipe's model that say where its first weights came from, and not what it is."""


def soup(
    checkpoints: Sequence[Path], out: Path, *, weights: Weights | None = None, file_elements: int = FILE_ELEMENTS
) -> Path:
    """Commit the mean of several checkpoints' weights as OUT/checkpoints/step-…; returns that folder.

    weights: those that train (`raw`), or each run's `average`; by default the average where one was kept.
    The step and the recipe are those of the checkpoint with the most steps. Means are taken in fp64.
    Raises UserError for fewer than two checkpoints, other models, or an `out` that holds checkpoints.
    """
    if len(checkpoints) < 2:
        raise UserError("a soup has two ingredients or more", found=f"{len(checkpoints)}")
    if (out / "checkpoints").exists():
        raise UserError("will not be replaced", where=out, found="checkpoints", wanted="a new or empty folder")
    readers = [open_checkpoint(path) for path in checkpoints]
    _check_same_model(readers)
    states = [reader.weight_states(weights) for reader in readers]
    newest = max(readers, key=lambda reader: reader.step)
    of = [{"path": str(r.folder), "identity": r.manifest.identity, "step": r.step} for r in readers]
    facts = {
        "step": newest.step,
        "identity": content_hash({"soup": [(entry["identity"], entry["step"]) for entry in of], "weights": weights}),
        "execution": "",
        "training": {"soup": of, "tokenizer": newest.manifest.training.get("tokenizer")},
        "recipe": newest.recipe,
        "versions": newest.manifest.versions,
    }
    shapes = {name: newest.shape(name) for name in newest.names()}
    mean = partial(_mean, readers, states)
    return write_by_slices(out, shapes, mean, newest.manifest.aliases, facts, file_elements)


def _check_same_model(readers: Sequence[CheckpointReader]) -> None:
    first = readers[0]
    for reader in readers:
        if reader.recipe.get("lora") is not None:
            raise UserError(
                "the mean of adapters is not the mean of their models: a product of means is no mean of products",
                where=reader.folder,
                found="a checkpoint of adapters (lora)",
                way_out="average while training: optimizer.ema_decay",
            )
    for other in readers[1:]:
        shapes = [{name: reader.shape(name) for name in reader.names()} for reader in (first, other)]
        one, another = first.recipe["model"], other.recipe["model"]
        keys = [key for key in one if key not in BEGINNING and another.get(key) != one[key]]
        ids = {reader.manifest.training.get("tokenizer") for reader in (first, other)} - {None}
        if len(ids) > 1:
            raise UserError(
                "checkpoints of two tokenizers have no mean: a row of one is another token's of the other",
                where=other.folder,
                found=f"tokenizer.json of SHA-256 {' and '.join(sorted(map(str, ids)))}",
            )
        if shapes[0] != shapes[1] or keys:
            raise UserError(
                "checkpoints of two different models have no mean",
                where=other.folder,
                found=", ".join(f"model.{key}: {another.get(key)}" for key in keys) or "other parameters",
                wanted=f"the model of {first.folder}",
            )


def _mean(readers: Sequence[CheckpointReader], states: Sequence[dict[str, str]], part: Slice) -> torch.Tensor:
    name, offset, length = part
    total, piece = torch.zeros(length, dtype=torch.float64), torch.empty(length)
    for reader, of in zip(readers, states, strict=True):
        reader.read_into(name, of[name], offset, piece)
        total += piece
    return (total / len(readers)).float()
