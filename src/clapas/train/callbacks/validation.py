"""Validation while training: loss and bits per byte on documents that the model does not train on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clapas.evaluate.bits_per_byte import score
from clapas.loader.held_out import HeldOutExamples
from clapas.loader.packing import Packing
from clapas.loader.windows import Windows
from clapas.recipe.recipe import Recipe
from clapas.train.callbacks.base import Callback
from clapas_data.manifest import Manifest

if TYPE_CHECKING:
    from clapas.train.run import Run


class Validation(Callback):
    """Scores the held-out split every `evaluation.every` steps and at the end; the ranks share its windows."""

    def on_step(self, run: Run) -> None:
        """Score, log and keep as evidence where it is time."""
        if run.step % run.recipe.evaluation.every and run.step != run.recipe.total_steps:
            return
        config = run.recipe.evaluation
        windows = held_out_windows(run.recipe, run.plan.manifest, run.ranks.data_rank, run.ranks.data_size)
        positions = run.ranks.positions(windows.sequence_length) if run.ranks.sequence > 1 else None
        with run.clock("evaluation"), run.engine.averaged():
            own = score(
                run.heart.beside(run.engine), windows, device=run.ranks.device, limit=config.tokens, positions=positions
            )
        loss_sum, tokens = run.ranks.sum_all([own.loss_sum, float(own.tokens)])
        scored = type(own)(loss_sum, int(tokens))
        bits = scored.bits_per_byte(windows)
        row = {"step": run.step, "split": config.split, "loss": scored.loss, "bits_per_byte": bits}
        run.record(
            "evaluation",
            split=config.split,
            loss=scored.loss,
            bits_per_byte=bits,
            text_bytes=windows.text_bytes,
            tokens_scored=scored.tokens,
        )
        run.log(row)


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
