"""Which callbacks a recipe asks for, in the order in which they are called."""

from __future__ import annotations

from clapas.loader.plan import DataPlan
from clapas.recipe.recipe import Recipe
from clapas.train.callbacks.base import Callback
from clapas.train.callbacks.checkpointing import Checkpointing
from clapas.train.callbacks.freezing import Freezing
from clapas.train.callbacks.garbage_collection import GarbageCollection
from clapas.train.callbacks.low_mfu import LowMfuWarning
from clapas.train.callbacks.metrics_log import MetricsLog
from clapas.train.callbacks.moving_average import MovingAverage
from clapas.train.callbacks.plan_comparison import PlanComparison
from clapas.train.callbacks.profiling import Profiling
from clapas.train.callbacks.progress import ProgressDisplay
from clapas.train.callbacks.replica_comparison import ReplicaComparison
from clapas.train.callbacks.task_evaluation import TaskEvaluation
from clapas.train.callbacks.telemetry import Telemetry
from clapas.train.callbacks.tensorboard import TensorBoardLogger
from clapas.train.callbacks.validation import Validation, has_held_out
from clapas.train.callbacks.wandb import WandbLogger
from clapas.tune.objective import Objective


def loggers(recipe: Recipe) -> list[Callback]:
    """Those that tell of a run, before the user's own: first the average of its weights, measures, then the sinks."""
    decay = recipe.optimizer.ema_decay
    chosen: list[Callback] = [] if decay is None else [MovingAverage(decay)]
    low_mfu = LowMfuWarning()
    chosen += [Telemetry(), MetricsLog(), ProgressDisplay(), low_mfu, PlanComparison(low_mfu)]
    if recipe.telemetry.wandb is not None:
        chosen.append(WandbLogger(recipe.telemetry.wandb, recipe.telemetry.wandb_project))
    if recipe.telemetry.tensorboard:
        chosen.append(TensorBoardLogger())
    if recipe.profile.steps:
        chosen.append(Profiling())
    return chosen


def keepers(recipe: Recipe, plan: DataPlan, objective: Objective) -> list[Callback]:
    """Those that judge and keep a run's state, after the user's own: a checkpoint follows all that may change it."""
    chosen: list[Callback] = [Freezing(recipe)] if recipe.train.freeze else []
    if recipe.faults.compare_every is not None:
        chosen.append(ReplicaComparison(recipe.faults.compare_every))
    if has_held_out(recipe, plan.manifest):
        chosen.append(Validation(objective))
    if recipe.evaluation.tasks:
        chosen.append(TaskEvaluation(recipe.evaluation))
    return [*chosen, Checkpointing(), GarbageCollection()]
