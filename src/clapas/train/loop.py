"""The training loop.

A step: agree on its count of units (target tokens, as a rule) and on whether to stop, accumulate the gradient of the
objective divided by that count, update. Everything optional hangs on the loop as callbacks.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator

import torch

from clapas.checkpoint.reader import CheckpointReader
from clapas.loader.loader import Batch, Loader
from clapas.recipe.errors import EXIT_DONE, EXIT_RUN_ME_AGAIN, ClapasError, UserError
from clapas.train.learning_rate import learning_rate
from clapas.train.peers import is_peer_gone, peer_gone
from clapas.train.run import Run, Step
from clapas.train.segments import go_back
from clapas.train.spike_response import respond
from clapas.train.spikes import SpikeWatch
from clapas.train.stop import StopRequest
from clapas.train.watchdog import watched
from clapas.tune.objective import Objective


def run_loop(run: Run, objective: Objective) -> int:
    """Train until the recipe's last step or an agreed stop. Returns the exit code: 0 done, 75 stopped early, saved."""
    stop = StopRequest()
    try:
        while (checkpoint := _run_segment(run, objective, stop)) is not None:
            run = go_back(run, checkpoint)
    finally:
        stop.close()
    return _exit_code(run)


def _exit_code(run: Run) -> int:
    return EXIT_DONE if run.step == run.recipe.total_steps else EXIT_RUN_ME_AGAIN


def _run_segment(run: Run, objective: Objective, stop: StopRequest) -> CheckpointReader | None:
    """Train, and record how it ended. Returns the checkpoint that the run goes back to; None: it has ended."""
    try:
        with watched(run):
            checkpoint = _train(run, objective, stop)
    except ClapasError as error:
        run.fail(error)
        raise
    except RuntimeError as error:
        if not is_peer_gone(error):
            raise
        failure = peer_gone(run.recipe.folder)
        run.fail(failure)  # launchers wait for outcome.json: srun may never tell them
        raise failure from None
    except KeyboardInterrupt:
        run.interrupted()
        raise
    if checkpoint is not None:
        run.end_before_rollback(checkpoint.step)
    else:
        exit_code = _exit_code(run)
        run.end(exit_code, "done" if exit_code == EXIT_DONE else "asked to stop; saved")
        if exit_code == EXIT_RUN_ME_AGAIN and run.is_first:
            print(f"stopped and saved at step {run.step:,}: the same command goes on from there", file=sys.stderr)
    return checkpoint


def _train(run: Run, objective: Objective, stop: StopRequest) -> CheckpointReader | None:
    try:
        for callback in run.callbacks:
            callback.on_start(run)
        if objective.begin is not None and not run.is_over:
            with run.clock("objective"):
                objective.begin(run)
        return _loop(run, objective, stop)
    finally:
        for callback in run.callbacks:
            callback.on_end(run)


def _loop(run: Run, objective: Objective, stop: StopRequest) -> CheckpointReader | None:
    with _loader(run) as loader:
        steps = _steps(run, loader)
        while not run.is_over:
            run.heart.step = run.step + 1
            run.heart.beat()
            for callback in run.callbacks:
                callback.before_step(run)
            begin = time.perf_counter()
            with run.clock("data"):
                micro_batches = next(steps)
            if objective.prepare is not None:
                with run.clock("objective"):
                    micro_batches = objective.prepare(run, micro_batches)
            counts_N = torch.cat([objective.counts(batch) for batch in micro_batches])
            local_targets = float(counts_N.numpy().sum())  # torch would wake its threads for it
            with run.clock("communication"):
                targets, asked = run.ranks.sum_all([local_targets, float(stop.requested)])
            run.stopping = bool(asked)
            targets = max(targets, 1.0)  # a step all of whose documents were removed learns nothing
            step = _train_step(run, objective, micro_batches, counts_N, targets)
            if step.fault is not None and (checkpoint := respond(run, step)) is not None:
                return checkpoint
            run.finish_step(step, begin)
            for callback in run.callbacks:
                callback.on_step(run)
    return None


def _train_step(
    run: Run, objective: Objective, micro_batches: list[Batch], counts_N: torch.Tensor, targets: float
) -> Step:
    engine, device = run.engine, run.ranks.device
    rate = learning_rate(run.recipe, run.step + 1)
    engine.set_batch(run.recipe.phases.at(run.step + 1).global_batch_size, len(micro_batches))
    losses: list[torch.Tensor] = []
    sums: dict[str, torch.Tensor] = {}
    for batch in micro_batches:
        with run.clock("forward"):
            loss, losses_B, *told = objective.loss(engine, batch.to(device))
        with run.clock("backward"):
            engine.backward(loss, targets)
        losses.append(losses_B)
        for name, value in told[0].items() if told else ():
            sums[name] = sums[name] + value if name in sums else value
    for callback in run.callbacks:
        callback.before_update(run)
    losses_N = torch.cat(losses).double()
    if run.spikes is None:
        with run.clock("optimizer"):
            grad_norm = engine.step(rate)
        return Step(losses_N, micro_batches, counts_N, targets, grad_norm, rate, sums)
    with run.clock("communication"):
        mean_loss = run.ranks.sum(losses_N.sum().item()) / targets
    with run.clock("optimizer"):
        grad_norm, fault = _guarded_step(run, run.spikes, rate, mean_loss)
    return Step(losses_N, micro_batches, counts_N, targets, grad_norm, rate, sums, mean_loss, fault)


def _guarded_step(run: Run, spikes: SpikeWatch, rate: float, loss: float) -> tuple[float, str | None]:
    """Update the weights unless the step is a spike. Returns the gradient's norm, and what is wrong with the step."""
    engine = run.engine
    grad_norm = engine.step(rate, lambda norm: spikes.fault(loss, norm) is None)
    overflowed = engine.loss_scale is not None and not math.isfinite(grad_norm)  # its scale is halved: nothing is wrong
    judged_norm = None if overflowed else grad_norm
    fault = spikes.fault(loss, judged_norm)
    if fault is None:
        spikes.take(loss, judged_norm)
    return grad_norm, fault


def _loader(run: Run) -> Loader:
    return Loader(run.plan, rank=run.ranks.data_rank, world=run.ranks.data_size, start_step=run.step + 1)


def _steps(run: Run, loader: Loader) -> Iterator[list[Batch]]:
    """The micro-batches of each step."""
    is_bare = run.plan.manifest.tokenizer is None  # nobody said which ids to expect
    for micro_batches in loader.steps():
        if is_bare:
            _check_ids(run, micro_batches)
        if run.ranks.sequence > 1:
            micro_batches = [batch.slice(*run.ranks.positions(batch.tokens.shape[1])) for batch in micro_batches]
        yield micro_batches


def _check_ids(run: Run, micro_batches: list[Batch]) -> None:
    """Raise UserError where a batch holds an id that the model does not have."""
    largest = max(int(batch.tokens.numpy().max()) for batch in micro_batches)  # torch would wake its threads for it
    if largest >= (size := run.recipe.model.vocab_size):
        raise UserError(
            "the shards hold token ids that the model does not have",
            where=run.recipe.data.path,
            found=f"id {largest}; model.vocab_size {size}",
            wanted="the vocabulary size of the tokenizer that made these shards",
        )
