"""`clapas train`: from a recipe to a trained run, in this process or as one rank of several.

The same command starts a run and goes on with it: where the run's folder holds a checkpoint, training continues after
it, bit for bit, if the recipe is still the same run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import nn

from clapas.engine.empty import building_empty
from clapas.engine.engine import Engine, import_deepspeed
from clapas.engine.layout import layout_of
from clapas.engine.ranks import Ranks, start_ranks, stop_ranks
from clapas.engine.slots import slots
from clapas.engine.state import seed_random_states
from clapas.loader.plan import DataPlan
from clapas.model.build import build_model
from clapas.model.compute import kernels, show_chosen_kernels
from clapas.model.cpu import prepare_cpu
from clapas.model.decoder import CausalLM
from clapas.model.init import initialise
from clapas.model.source import WeightSource
from clapas.recipe.errors import EXIT_DONE, ClapasError, UserError
from clapas.recipe.recipe import Recipe
from clapas.train.adapters import adapt, check_adapters
from clapas.train.callbacks.base import Callback
from clapas.train.callbacks.builtin import keepers, loggers
from clapas.train.crash_loop import refuse_crash_loop
from clapas.train.first_weights import open_first_weights, record_seal
from clapas.train.loop import run_loop
from clapas.train.objective import objective_of, refuse_other_examples, refuse_z_loss
from clapas.train.optimizers.build import build_optimizer
from clapas.train.optimizers.muon import Muon
from clapas.train.optimizers.mup import std_scale, width_ratio
from clapas.train.optimizers.roles import parameter_roles
from clapas.train.peers import is_peer_gone, peer_gone
from clapas.train.run import Run
from clapas.train.run_folder import RunFolder, leave_refusal
from clapas.train.segments import begin_segment
from clapas.train.start import find_start
from clapas.train.start_together import preflight_together
from clapas.train.utilisation import device_peak
from clapas.tune.objective import LossFunction, Objective


def train(
    recipe: Recipe,
    callbacks: Sequence[Callback] = (),
    *,
    objective: Objective | LossFunction | None = None,
    build: Callable[[Recipe], nn.Module] | None = None,
    strict: bool = False,
) -> int:
    """Train, or go on training, the run that `recipe` describes. Returns 0 (done) or 75 (stopped early, saved).

    Under torchrun, srun or `clapas train --nproc` every rank calls it; alone it is a run of one rank.
    callbacks: called after the built-in ones that log, before those that validate and save.
    objective: what is minimised, instead of what the recipe's `objective` says (see `tune.objective`).
    build: makes the model with its initial weights, on the CPU and equal on all ranks; by default `recipe.model`'s.
    strict: refuse to go on from an older checkpoint where the newest is damaged.
    Raises UserError where recipe, data and run folder do not fit together, ClapasError where something failed.
    """
    if build is not None and recipe.model.from_ is not None:
        way_out = "leave model.from out, or build"
        raise UserError("both build and model.from say what the first weights are", where=recipe.name, way_out=way_out)
    ranks = start_ranks()
    try:
        if ranks.device.type == "cpu":
            torch.set_num_threads(_threads(recipe))
            prepare_cpu()
        with ranks.said_once():
            import_deepspeed()
        if ranks.rank == 0:
            show_chosen_kernels()
        try:
            with ranks.said_once():
                recipe, plan = preflight_together(recipe, ranks)
                check_adapters(recipe, ranks)
                if objective is None:
                    refuse_other_examples(recipe, plan.manifest)
                chosen = objective_of(recipe, objective)
                ranks = ranks.arranged(layout_of(recipe, ranks.size))
                folder = _open_folder(recipe, ranks)
        except UserError as error:
            if ranks.rank == 0:
                leave_refusal(recipe.folder, error)
            raise
        try:
            with kernels(recipe.compute):
                run = _prepare(recipe, chosen, ranks, plan, folder, callbacks, build or initial_model, strict)
                code = EXIT_DONE if run is None else run_loop(run, chosen)
                ranks.all(True)  # srun ends the others once one has left with 75: not before rank 0 has written all
                return code
        except ClapasError as error:
            if folder and not folder.has_ended:  # it failed before the run began
                folder.ledger.append("failed", segment=folder.segment, error=str(error))
                folder.end_segment(error.exit_code, error.what, step=0)
            raise
        finally:
            if folder:
                folder.close()
    except RuntimeError as error:
        if not is_peer_gone(error):
            raise
        raise peer_gone(recipe.folder) from None
    finally:
        stop_ranks()


def _prepare(
    recipe: Recipe,
    objective: Objective,
    ranks: Ranks,
    plan: DataPlan,
    folder: RunFolder | None,
    callbacks: Sequence[Callback],
    build: Callable[[Recipe], nn.Module],
    strict: bool,
) -> Run | None:
    """A run about to take its next step, its segment begun; None where it is done already."""
    hashes = {"identity": recipe.identity_hash(plan.hash), "execution": recipe.execution_hash(ranks.size)}
    with ranks.said_once():
        reader = find_start(recipe, hashes["identity"], plan.manifest, folder, ranks, strict=strict)
        first_weights = None
        needs_base = reader is None or recipe.lora is not None  # a checkpoint of adapters does not hold it
        if needs_base and recipe.model.from_ is not None and build is initial_model:
            first_weights = open_first_weights(recipe, ranks)
    if reader is not None and reader.step >= recipe.total_steps:
        if folder:
            print(f"{recipe.folder}: trained already, {reader.step:,} steps", file=sys.stderr)
        return None
    step = reader.step if reader else 0
    with ranks.said_once():
        refuse_crash_loop(recipe, ranks, folder, hashes, step)
        all_callbacks = [*loggers(recipe), *callbacks, *keepers(recipe, plan, objective)]
    engine = build_engine(recipe, ranks, all_callbacks, build, first_weights)
    peak = device_peak(ranks.device, recipe.precision)
    run = begin_segment(
        recipe,
        ranks,
        engine,
        plan,
        folder,
        all_callbacks,
        reader=reader,
        hashes=hashes,
        peak_flops=peak,
        first_weights=first_weights,
    )
    if first_weights is not None and reader is None:
        if folder:
            record_seal(recipe, first_weights)
        run.record("first_weights", path=str(first_weights.folder), seal=recipe.model.from_seal)
    if reader is not None and reader.folder.parent != recipe.folder / "checkpoints":
        run.record(
            "branch", checkpoint=str(reader.folder), run=reader.recipe["name"], identity=reader.manifest.identity
        )
    return run


def initial_model(recipe: Recipe) -> nn.Module:
    """The recipe's model on the CPU, initialised by parameter name: the same on any number of ranks.

    One that begins with another's weights waits for them (`engine.state.load_weights`): it is not initialised.
    """
    device_type = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model(recipe.model, recipe.compute.on(device_type, recipe.parallel.zero_stage))
    if recipe.model.from_ is not None:
        return model
    ratio = width_ratio(recipe.optimizer, recipe.model.hidden_size)
    initialise(model, recipe.seed, {name: std_scale(role, ratio) for name, role in parameter_roles(model).items()})
    return model


def build_engine(
    recipe: Recipe,
    ranks: Ranks,
    callbacks: Sequence[Callback] = (),
    build: Callable[[Recipe], nn.Module] = initial_model,
    first_weights: WeightSource | None = None,
) -> Engine:
    """A model, its optimizer and DeepSpeed around them.

    first_weights: what the model will be given, which adapters may look at.
    """
    seed_random_states(recipe.seed, 0, ranks.rank)
    waits = recipe.model.from_ is not None and build is initial_model
    with building_empty(recipe, ranks) if waits else nullcontext():
        model = build(recipe)
    if first_weights is not None and recipe.lora is not None:
        assert isinstance(model, CausalLM)
        adapt(model, recipe, ranks, first_weights)
    with ranks.said_once():
        refuse_z_loss(recipe, model)
        for callback in callbacks:
            callback.on_build(model)
    model.to(ranks.device)
    optimizer = build_optimizer(recipe.optimizer, model, width_ratio(recipe.optimizer, recipe.model.hidden_size))
    engine = Engine(model, optimizer, recipe, ranks)
    if isinstance(optimizer, Muon):
        optimizer.bind(slots(engine.deepspeed), ranks.device)
    return engine


def _threads(recipe: Recipe) -> int:
    """CPU threads of this rank: the recipe's, or what its launcher set, or all cores."""
    if recipe.train.threads is not None:
        return recipe.train.threads
    return int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0))))


def _open_folder(recipe: Recipe, ranks: Ranks) -> RunFolder | None:
    """The run's folder on rank 0, None elsewhere. Raises on all ranks alike where rank 0 may not have it."""
    folder, error, kind = None, None, UserError
    if ranks.rank == 0:
        try:
            folder = RunFolder(recipe.folder)
        except UserError as problem:
            error = str(problem)
        except OSError as problem:
            error, kind = f"{recipe.folder}: cannot write the run's folder: {problem.strerror}", ClapasError
    if agreed := ranks.agree_on_error(error):
        raise kind(agreed)
    return folder
