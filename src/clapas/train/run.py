"""What a run is while it trains: its place, its sums, and how it tells of itself."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from clapas.engine.engine import Engine
from clapas.engine.ranks import Ranks
from clapas.ledger.ledger import NOT_MEASURED
from clapas.loader.batch import Batch
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import EXIT_INTERRUPTED, ClapasError
from clapas.recipe.phases import Phase
from clapas.recipe.recipe import Recipe
from clapas.train.callbacks.base import Callback
from clapas.train.clock import Clock
from clapas.train.heartbeat import Heart
from clapas.train.run_folder import RunFolder
from clapas.train.spikes import SpikeWatch


@dataclass(slots=True)
class Work:
    """What this segment has done since it began.

    tokens: positions that were computed, padding included; batches that are as long as their samples differ between
    ranks: this rank's stand for all. held: of this rank's, those that hold a token of an example.
    flops: the model's own. seconds: of its steps, from the wait for data to the update.
    """

    steps: int = 0
    tokens: int = 0
    held: int = 0
    flops: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step, as this rank saw it.

    losses_N: of each of this rank's samples, in nats over its targets, on the rank's device, float64.
    batches: the samples, on the CPU. counts_N: the units (target tokens, as a rule) that each loss is a sum over.
    targets: the step's units over all ranks. sums: what else the objective tells, summed over this rank's units.
    grad_norm: global L2 norm before clipping; infinity where it is not finite.
    loss: of the step over all ranks, in nats a target token, where it is known already.
    fault: what made this step a spike, and its update was left out; None: nothing.
    """

    losses_N: torch.Tensor
    batches: list[Batch]
    counts_N: torch.Tensor
    targets: float
    grad_norm: float
    learning_rate: float
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    loss: float | None = None
    fault: str | None = None


class Run:
    """One rank's view of a run that trains.

    step: optimizer steps done. last_step: the newest of them. stopping: the ranks have agreed to stop after this step.
    folder: on rank 0, else None. clock: where the time of the steps goes. heart: tells the watchdog that it goes on; a
    callback that takes long beats it (`run.heart.beat()`). peak_flops: of one rank's device, FLOP/s.
    spikes: where the recipe has `faults.spike`.
    energy_joules: of all ranks in this segment, as last measured within energy_boundary.
    """

    def __init__(
        self,
        recipe: Recipe,
        ranks: Ranks,
        engine: Engine,
        plan: DataPlan,
        folder: RunFolder | None,
        callbacks: Sequence[Callback],
        *,
        step: int,
        hashes: dict[str, str],
        peak_flops: float | None,
    ) -> None:
        self.recipe, self.ranks, self.engine, self.plan, self.folder = recipe, ranks, engine, plan, folder
        self.step, self.hashes, self.peak_flops = step, hashes, peak_flops
        self.callbacks = callbacks
        self.is_first = ranks.rank == 0
        self.stopping = False
        self.last_step: Step | None = None
        self.work = Work()
        self.heart = Heart()
        self.clock = Clock(ranks.device, self.heart)
        spike = recipe.faults.spike
        self.spikes = None if spike is None else SpikeWatch(spike)
        self.energy_joules: float | str = NOT_MEASURED
        self.energy_boundary: str | None = None
        self._logged = Work()
        self._begin = time.perf_counter()

    @property
    def path(self) -> Path:
        """The run's folder: the first rank alone writes there."""
        return self.recipe.folder

    @property
    def identity(self) -> str:
        """The run's identity hash."""
        return self.hashes["identity"]

    @property
    def phase(self) -> Phase:
        """What the newest step has read; before the first of them, what it will."""
        return self.recipe.phases.at(max(1, self.step))

    @property
    def is_over(self) -> bool:
        """Whether no further step follows in this segment."""
        return self.stopping or self.step == self.recipe.total_steps

    @property
    def seconds_per_step(self) -> float:
        """Mean time of this segment's steps."""
        return self.work.seconds / max(1, self.work.steps)

    def logs(self, step: int) -> bool:
        """Whether a step has a row in metrics.jsonl."""
        return step % self.recipe.telemetry.log_every == 0 or step == self.recipe.total_steps

    def finish_step(self, step: Step, begin: float) -> None:
        """Count a step that was done; log it where it is time. begin: when it began (`time.perf_counter`).

        A step that is logged waits for its loss, and its time includes that wait.
        """
        self.last_step = step
        self.step += 1
        self.work.steps += 1
        sharing = self.ranks.size // self.ranks.tensor  # tensor ranks compute the same positions
        for batch in step.batches:
            positions = batch.tokens.numel() * sharing
            self.work.tokens += positions
            self.work.flops += positions * self.recipe.flops_per_token(batch.tokens.shape[1] * self.ranks.sequence)
            if self.plan.packing.is_packed:  # only learned rows go through the head
                spared = positions - batch.target_count * sharing
                self.work.flops -= spared * self.recipe.head_flops_per_token
        self.work.held += sum(batch.held for batch in step.batches)
        overflowed = self.engine.was_skipped and step.fault is None
        if overflowed and self.engine.loss_scale is None:  # DeepSpeed goes on without a word (#8415)
            self.fail_diverged(self.step, f"gradient norm {step.grad_norm}")
        loss_sum = step.losses_N.sum().item() if self.logs(self.step) else None
        self.work.seconds += time.perf_counter() - begin
        if loss_sum is None:
            return
        loss = self.ranks.sum(loss_sum) / step.targets if step.loss is None else step.loss
        if math.isfinite(loss):
            self._log_step(step, loss)
        elif step.fault is None:
            self.fail_diverged(self.step, f"loss {loss}")

    def _log_step(self, step: Step, loss: float) -> None:
        steps = self.work.steps - self._logged.steps
        seconds = self.work.seconds - self._logged.seconds
        tokens = self.work.tokens - self._logged.tokens
        if self.plan.packing.is_packed:  # padding is no work that anybody asked for
            tokens = self.ranks.sum(self.work.held - self._logged.held)
        flops_rate = (self.work.flops - self._logged.flops) / seconds
        self._logged = Work(**asdict(self.work))
        peak = self.peak_flops
        row = {
            "step": self.step,
            "loss": loss,
            "grad_norm": step.grad_norm,
            "learning_rate": step.learning_rate,
            "tokens": self.recipe.phases.tokens_after(self.step),
            "tokens_per_second": tokens / seconds,
            "mfu": None if peak is None else flops_rate / (peak * self.ranks.size),
            "step_seconds": seconds / steps,
        }
        if self.recipe.stages:
            row["stage"] = self.recipe.stages[self.phase.stage].name or str(self.phase.stage + 1)
        for name, value in step.sums.items():
            row[name] = self.ranks.sum(value.item()) / step.targets
        if not math.isfinite(step.grad_norm):
            row["grad_norm"] = None
        if self.engine.loss_scale:
            row["loss_scale"] = self.engine.loss_scale.value
        for callback in self.callbacks:
            callback.add_columns(self, row)
        self.log(row)

    def fail_diverged(self, step: int, found: str) -> None:
        """Raise ClapasError, on all ranks alike: training has come to nothing."""
        way_out = "lower optimizer.lr or look at the data (`clapas audit`); the last checkpoint stands"
        with self.ranks.said_once():
            raise ClapasError(
                f"training diverged at step {step}", where=self.recipe.folder, found=found, way_out=way_out
            )

    def log(self, row: dict[str, Any]) -> None:
        """Hand a row to the callbacks: the first of them writes it to metrics.jsonl."""
        if self.folder:
            row["segment"] = self.folder.segment
        for callback in self.callbacks:
            callback.on_log(self, row)

    def record(self, event: str, **facts: Any) -> None:
        """Append an event to the ledger (rank 0): of this step, unless the facts name another."""
        if self.folder:
            self.folder.ledger.append(event, **{"segment": self.folder.segment, "step": self.step, **facts})

    def totals(self) -> dict[str, Any]:
        """This segment's sums so far. seconds: wall time since it began to train; flops: the model's own."""
        return {
            "step": self.step,
            "run_tokens": self.recipe.phases.tokens_after(self.step),
            "tokens": self.work.tokens,
            "flops": self.work.flops,
            "seconds": round(time.perf_counter() - self._begin, 3),
            "ranks": self.ranks.size,
            "energy_joules": self.energy_joules,
            "energy_boundary": self.energy_boundary,
        }

    def end(self, exit_code: int, reason: str) -> None:
        """Record how the segment ended."""
        self.record("segment_end", reason=reason, totals=self.totals())
        if self.folder:
            self.folder.end_segment(exit_code, reason, self.step)

    def end_before_rollback(self, to_step: int) -> None:
        """Record that the segment ends because the run goes back to a checkpoint."""
        self.record("segment_end", reason=f"back to step {to_step}", totals=self.totals())

    def fail(self, error: ClapasError) -> None:
        """Record that the segment failed."""
        self.record("failed", error=str(error), totals=self.totals())
        if self.folder:
            self.folder.end_segment(error.exit_code, error.what, self.step)

    def interrupted(self) -> None:
        """Record that the user has ended the segment at once, with a second Ctrl-C: it is no crash."""
        self.record("interrupted", totals=self.totals())
        if self.folder:
            self.folder.end_segment(EXIT_INTERRUPTED, "interrupted", self.step)

    def headline(self) -> str:
        """What is about to be trained, in one line."""
        recipe, next_phase = self.recipe, self.recipe.phases.at(self.step + 1)
        where = "resuming after" if self.step else "starting at"
        trained = f" and {recipe.trained_parameters:,} that train" if recipe.lora else ""
        return (
            f"{recipe.name}: {recipe.model.parameters():,} parameters{trained}, {recipe.total_steps:,} steps of "
            f"{next_phase.tokens_per_step:,} tokens, ZeRO-{recipe.parallel.zero_stage}, {recipe.precision}, "
            f"{self.ranks.layout} on {self.ranks.device.type}; "
            f"{where} step {self.step}"
        )
