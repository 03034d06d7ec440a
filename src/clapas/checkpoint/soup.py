"""A checkpoint soup: one model that is the mean of several checkpoints' weights (Wortsman et al., 2022).

The checkpoints of one run near its end, or of runs that differ in data or seed after a common start. Read and written
slice by slice, so that memory holds one slice, however large the model. The result is a checkpoint like any other for
whoever reads weights; it has no optimizer's states and an identity of its own, so that no run goes on from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from clapas.checkpoint.format import MASTER, Fragment, Snapshot, Weights, step_folder
from clapas.checkpoint.reader import CheckpointReader, open_checkpoint
from clapas.checkpoint.writer import begin, commit, write_rank
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash

FILE_ELEMENTS = 2**28
"""Elements of one file of the result, 1 GiB in fp32: what is in memory at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file's place among the files of a checkpoint that one process writes."""

    rank: int
    size: int


BEGINNING = ("from", "from_seal", "other_tokenizer")
"""Keys of a recipe's model that say where its first weights came from, and not what it is."""

Slice = tuple[str, int, int]
"""(parameter, offset, length)"""


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
        "training": {"soup": of},
        "recipe": newest.recipe,
        "versions": newest.manifest.versions,
    }
    final = step_folder(out / "checkpoints", newest.step)
    partial = final.with_name(f".{final.name}.partial")
    files = list(_files(newest, file_elements))
    aliases = newest.manifest.aliases
    try:
        begin(partial)
        for number, slices in enumerate(files):
            fragments = [_mean(readers, states, part) for part in slices]
            write_rank(partial, Snapshot(fragments, aliases), Part(number, len(files)))
        commit(partial, final, aliases, facts, len(files))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return final


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
        if shapes[0] != shapes[1] or keys:
            raise UserError(
                "checkpoints of two different models have no mean",
                where=other.folder,
                found=", ".join(f"model.{key}: {another.get(key)}" for key in keys) or "other parameters",
                wanted=f"the model of {first.folder}",
            )


def _files(reader: CheckpointReader, file_elements: int) -> Iterator[list[Slice]]:
    """All parameters as slices, packed into files."""
    held, room = list[Slice](), file_elements
    for name in reader.names():
        elements, offset = torch.Size(reader.shape(name)).numel(), 0
        while offset < elements:
            length = min(room, elements - offset)
            held.append((name, offset, length))
            offset, room = offset + length, room - length
            if room == 0:
                yield held
                held, room = [], file_elements
    if held:
        yield held


def _mean(readers: Sequence[CheckpointReader], states: Sequence[dict[str, str]], part: Slice) -> Fragment:
    name, offset, length = part
    total, piece = torch.zeros(length, dtype=torch.float64), torch.empty(length)
    for reader, of in zip(readers, states, strict=True):
        reader.read_into(name, of[name], offset, piece)
        total += piece
    return Fragment(name, tuple(readers[0].shape(name)), offset, {MASTER: (total / len(readers)).float()}, {})
