"""`clapas train`: from a recipe to a trained run, in this process or as one rank of several.

The same command starts a run and goes on with it: where the run's folder holds a checkpoint, training continues after
it, bit for bit, if the recipe is still the same run.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Sequence

import torch

from clapas.checkpoint.reader import CheckpointReader, open_newest_sound
from clapas.engine.engine import Engine, import_deepspeed
from clapas.engine.ranks import Ranks, start_ranks, stop_ranks
from clapas.engine.state import restore, seed_random_states
from clapas.loader.plan import DataPlan
from clapas.model.cpu import prepare_cpu
from clapas.model.init import initialise
from clapas.model.llama import LlamaForCausalLM
from clapas.recipe.errors import EXIT_DONE, ClapasError, UserError
from clapas.recipe.recipe import Recipe
from clapas.train.callbacks import Callback, ProgressDisplay, WandbLogger
from clapas.train.evaluation import Validation, has_held_out
from clapas.train.loop import Run
from clapas.train.optimizer import build_optimizer
from clapas.train.preflight import preflight
from clapas.train.run_folder import RunFolder
from clapas.train.schedule import may_extend
from clapas.train.utilisation import device_peak


def train(recipe: Recipe, callbacks: Sequence[Callback] = ()) -> int:
    """Train, or go on training, the run that `recipe` describes. Returns 0 (done) or 75 (stopped early, saved).

    Under torchrun, srun or `clapas train --nproc` every rank calls it; alone it is a run of one rank. Raises UserError
    where recipe, data and run folder do not fit together, ClapasError where something failed on the way.
    """
    ranks = start_ranks()
    try:
        if ranks.device.type == "cpu":
            torch.set_num_threads(_threads(recipe))
            prepare_cpu()
        import_deepspeed()
        with ranks.said_once():
            plan = preflight(recipe, ranks.size)
            folder = _open_folder(recipe, ranks)
        try:
            return _train(recipe, ranks, plan, folder, callbacks)
        except ClapasError as error:
            if folder and not folder.has_ended:  # it failed before the run began
                folder.ledger.append("failed", segment=folder.segment, error=str(error))
                folder.end_segment(error.exit_code, error.what, step=0)
            raise
        finally:
            if folder:
                folder.close()
    except RuntimeError as error:
        if not PEER_GONE.search(str(error)):
            raise
        raise ClapasError("another rank has ended; its own message says why", where=recipe.folder) from None
    finally:
        stop_ranks()


PEER_GONE = re.compile(r"[Cc]onnection (closed|reset) by peer|Broken pipe")
"""What gloo says to a rank whose peer is gone."""


def _train(
    recipe: Recipe, ranks: Ranks, plan: DataPlan, folder: RunFolder | None, callbacks: Sequence[Callback]
) -> int:
    hashes = {"identity": recipe.identity_hash(plan.hash), "execution": recipe.execution_hash(ranks.size)}
    with ranks.said_once():
        reader = _find_start(recipe, hashes["identity"], folder)
    if reader is not None and reader.step >= recipe.total_steps:
        if folder:
            print(f"{recipe.folder}: trained already, {reader.step:,} steps", file=sys.stderr)
        return EXIT_DONE
    engine = build_engine(recipe, ranks)
    if reader is not None:
        restore(engine, reader)
    step = reader.step if reader else 0
    if folder:
        folder.begin_segment(recipe, hashes, engine.config, ranks.size)
    peak = device_peak(ranks.device, recipe.precision)
    run = Run(recipe, ranks, engine, plan, folder, step=step, hashes=hashes, peak_flops=peak)
    run.record("segment_start", **hashes, ranks=ranks.size, device=ranks.device.type, data=str(recipe.data.path))
    gc.freeze()  # what was built until here lives as long as the run: the collector need not look at it again
    return run.train([*_callbacks(recipe, plan), *callbacks])


def build_engine(recipe: Recipe, ranks: Ranks) -> Engine:
    """The model, initialised by parameter name (the same on any number of ranks), its optimizer and DeepSpeed."""
    seed_random_states(recipe.seed, 0, ranks.rank)
    model = LlamaForCausalLM(recipe.model)
    initialise(model, recipe.seed)
    model.to(ranks.device)
    return Engine(model, build_optimizer(recipe.optimizer, model), recipe, ranks)


def _callbacks(recipe: Recipe, plan: DataPlan) -> list[Callback]:
    chosen: list[Callback] = [ProgressDisplay()]
    if has_held_out(recipe, plan.manifest):
        chosen.append(Validation())
    if recipe.telemetry.wandb is not None:
        chosen.append(WandbLogger(recipe.telemetry.wandb, recipe.telemetry.wandb_project))
    return chosen


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


def _find_start(recipe: Recipe, identity: str, folder: RunFolder | None) -> CheckpointReader | None:
    """The checkpoint to go on from: the newest sound one, if it is of this run. None: start at the beginning.

    Raises UserError where the folder holds another run, DamagedCheckpointError where no checkpoint of it is sound.
    """
    reader, damaged = open_newest_sound(recipe.folder / "checkpoints")
    for problem in damaged:
        if folder:
            folder.ledger.append("damaged_checkpoint", segment=folder.segment, error=str(problem))
    if reader is None:
        if damaged:
            raise damaged[0]
        return None
    if reader.manifest.identity != identity:
        raise UserError(
            "this folder holds another run: a resume may not change what the run is",
            where=recipe.folder,
            found=_difference(recipe, reader) or "other data, or the data in another order",
            wanted=f"the recipe of the checkpoint at step {reader.step} ({recipe.folder / 'recipe.yaml'})",
            way_out="start another run: name=… or run_dir=…",
        )
    old = Recipe.model_validate(reader.recipe)
    if not may_extend(recipe.schedule, reader.step, old.total_steps, recipe.total_steps):
        raise UserError(
            f"a {recipe.schedule.name} run cannot change its length at step {reader.step}",
            where=recipe.folder,
            found=f"{recipe.total_steps} steps",
            wanted=f"{old.total_steps} steps, which its learning rate was made for",
            way_out="start another run; a wsd run can be extended until its decay begins",
        )
    return reader


def _difference(recipe: Recipe, reader: CheckpointReader) -> str:
    """The keys in which a recipe is another run than a checkpoint's."""
    old, new = (_flat(Recipe.model_validate(reader.recipe)), _flat(recipe))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return "; ".join(f"{key}: {new.get(key)} (was {old.get(key)})" for key in keys)


def _flat(recipe: Recipe) -> dict[str, object]:
    """The identity's dotted keys, the data's hash aside."""
    flat: dict[str, object] = {}
    names = {"seed": "seed", "precision": "precision", "global_batch_size": "train.global_batch_size"}
    for name, value in recipe.identity("").items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": item for key, item in value.items()})
        elif name in names:
            flat[names[name]] = value
    flat["data.sequence_length"] = recipe.data.sequence_length
    flat["data.mixture"] = recipe.data.mixture
    return flat
