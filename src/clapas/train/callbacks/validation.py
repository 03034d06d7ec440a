"""Validation while training: loss and bits per byte on documents that the model does not train on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch

from clapas.evaluate.bits_per_byte import score
from clapas.loader.held_out import HeldOut, HeldOutExamples
from clapas.loader.packing import Packing
from clapas.loader.windows import Windows
from clapas.recipe.recipe import Recipe
from clapas.train.callbacks.base import Callback
from clapas.tune.objective import Evaluate, Objective
from clapas_data.manifest import Manifest

if TYPE_CHECKING:
    from clapas.train.run import Run


class Validation(Callback):
    """Scores the held-out split every `evaluation.every` steps and at the end; the ranks share its windows."""

    def __init__(self, objective: Objective) -> None:
        self._evaluate = objective.evaluate

    def on_start(self, run: Run) -> None:
        """Tell which held-out examples are left out. Raises UserError, before the first step, where none fits."""
        if run.plan.manifest.examples is None:
            return
        with run.ranks.said_once():
            windows = held_out_windows(run.recipe, run.plan.manifest)
        assert isinstance(windows, HeldOutExamples)
        for fate, count in windows.left_out.items():
            if count and run.is_first:
                print(f"held-out examples: {count:,} too long and {fate} (data.too_long)", file=sys.stderr)

    def on_step(self, run: Run) -> None:
        """Score, log and keep as evidence where it is time."""
        if run.step % run.recipe.evaluation.every and run.step != run.recipe.total_steps:
            return
        windows = held_out_windows(run.recipe, run.plan.manifest, run.ranks.data_rank, run.ranks.data_size)
        with run.clock("evaluation"), run.engine.averaged():
            found = _score(run, windows) if self._evaluate is None else _means(run, self._evaluate, windows)
        row = {"step": run.step, "split": run.recipe.evaluation.split, **found}
        run.record("evaluation", **{name: value for name, value in row.items() if name != "step"})
        run.log({name: value for name, value in row.items() if name not in ("text_bytes", "tokens_scored")})


def _score(run: Run, windows: HeldOut) -> dict[str, Any]:
    """The cross-entropy of the split's tokens, and bits per byte."""
    positions = run.ranks.positions(windows.sequence_length) if run.ranks.sequence > 1 else None
    limit = run.recipe.evaluation.tokens
    model = run.heart.beside(run.engine)
    own = score(model, windows, device=run.ranks.device, limit=limit, positions=positions)
    loss_sum, tokens = run.ranks.sum_all([own.loss_sum, float(own.tokens)])
    scored = type(own)(loss_sum, int(tokens))
    return {
        "loss": scored.loss,
        "bits_per_byte": scored.bits_per_byte(windows),
        "text_bytes": windows.text_bytes,
        "tokens_scored": scored.tokens,
    }


@torch.no_grad()
def _means(run: Run, evaluate: Evaluate, windows: HeldOut) -> dict[str, float]:
    """What an objective tells of the split: each column's sum over its count, where that is not 0."""
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, torch.Tensor] = {}
    model = run.heart.beside(run.engine)
    for _, batch in zip(range(windows.batches_for(run.recipe.evaluation.tokens)), windows, strict=False):
        if run.ranks.sequence > 1:
            batch = batch.slice(*run.ranks.positions(batch.tokens.shape[1]))
        for name, (value, count) in evaluate(model, batch.to(run.ranks.device)).items():
            sums[name] = sums.get(name, 0) + value.double()
            counts[name] = counts.get(name, 0) + torch.as_tensor(count, dtype=torch.float64)
    own = [float(value) for table in (sums, counts) for value in table.values()]
    totals = run.ranks.sum_all(own)
    pairs = zip(sums, totals[: len(sums)], totals[len(sums) :], strict=True)
    return {name: value / count for name, value, count in pairs if count}


def held_out_windows(recipe: Recipe, manifest: Manifest, rank: int = 0, world: int = 1) -> Windows | HeldOutExamples:
    """What one rank reads of the recipe's held-out split: windows over its text, or its examples."""
    config, length = recipe.evaluation, recipe.data.sequence_length
    if manifest.examples is not None:
        packing = Packing(recipe.data.packing, recipe.data.too_long)
        return HeldOutExamples(
            manifest,
            packing,
            sequence_length=length,
            batch_size=config.batch_size,
            split=config.split,
            rank=rank,
            world=world,
        )
    return Windows(
        manifest,
        sequence_length=length,
        stride=config.stride_of(length),
        batch_size=config.batch_size,
        split=config.split,
        rank=rank,
        world=world,
    )


def has_held_out(recipe: Recipe, manifest: Manifest) -> bool:
    """Whether there is something to validate on: bare shards may have no held-out split.

    Raises UserError where the recipe asks for a split that is not there.
    """
    if manifest.examples is not None and manifest.examples.kind == "prompts":
        return False  # nothing follows a prompt that could be foretold
    if recipe.evaluation.split in manifest.splits:
        return manifest.tokens(recipe.evaluation.split) > 0  # all of it may have been removed
    if "split" in recipe.evaluation.model_fields_set:
        manifest.of_split(recipe.evaluation.split)  # raises, with the splits that there are
    return False
