"""Segments: what a run is made of. Each begins at step 0 or after a checkpoint.

A start of the command begins one. A run that goes back begins another in the same processes, as if it had been started
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clapas.checkpoint.reader import CheckpointReader
from clapas.engine.engine import Engine
from clapas.engine.ranks import Ranks
from clapas.engine.state import load_weights, restore
from clapas.loader.plan import DataPlan
from clapas.model.source import WeightSource
from clapas.recipe.recipe import Recipe
from clapas.train.adapters import not_the_bases
from clapas.train.callbacks.base import Callback
from clapas.train.packing_report import packing_facts, tell_packing
from clapas.train.run import Run
from clapas.train.run_folder import RunFolder
from clapas.train.spike_response import left_out_after, left_out_before


def begin_segment(
    recipe: Recipe,
    ranks: Ranks,
    engine: Engine,
    plan: DataPlan,
    folder: RunFolder | None,
    callbacks: Sequence[Callback],
    *,
    reader: CheckpointReader | None,
    hashes: dict[str, str],
    peak_flops: float | None,
    first_weights: WeightSource | None = None,
) -> Run:
    """A run about to take its next step: after the checkpoint of `reader`, or its first. Collective.

    first_weights: those that it begins with, where the model was built without any; of adapters, their base's.
    """
    step = 0 if reader is None else reader.step
    if first_weights is not None:
        load_weights(engine, first_weights, **not_the_bases(engine.deepspeed.module))
    if reader is not None:
        restore(engine, reader)
    since = left_out_after(recipe.folder, step, ranks)
    plan = plan.leaving_out([*left_out_before(reader), *since])
    if folder:
        folder.begin_segment(recipe, hashes, engine.config, ranks.size)
    run = Run(recipe, ranks, engine, plan, folder, callbacks, step=step, hashes=hashes, peak_flops=peak_flops)
    if run.spikes is not None:
        if reader is not None and (state := reader.manifest.training.get("spikes")):
            run.spikes.restore(state)
        if since:
            run.spikes.act(times=len(since))
    facts: dict[str, Any] = {"ranks": ranks.size, "device": ranks.device.type, "data": str(recipe.data.path)}
    if recipe.objective.name != "language_modelling":
        facts["objective"] = recipe.objective.identity()
    if recipe.lora is not None:
        facts["lora"] = recipe.lora.identity()
    if plan.shares:
        facts["mixtures"] = [shares.weights for shares in plan.shares]
    if plan.left_out:
        facts["left_out"] = plan.left_out
    if plan.packing.is_packed:
        facts["packing"] = packing_facts(plan)
        if run.is_first:
            examples = plan.manifest.examples
            tell_packing(
                facts["packing"],
                recipe.phases.at(step + 1).global_batch_size,
                plan.packing.too_long,
                may_cut=examples is None or examples.documents_per_example == 1,
            )
    run.record("segment_start", **hashes, **facts)
    return run


def go_back(run: Run, reader: CheckpointReader) -> Run:
    """The run after a checkpoint, in its next segment. Collective."""
    if run.folder:
        run.folder.segment += 1
    return begin_segment(
        run.recipe,
        run.ranks,
        run.engine,
        run.plan,
        run.folder,
        run.callbacks,
        reader=reader,
        hashes=run.hashes,
        peak_flops=run.peak_flops,
    )
