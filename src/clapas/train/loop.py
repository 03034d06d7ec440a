"""The training loop, and what a run is while it goes on.

A step: agree on its count of targets (and on whether to stop), accumulate the gradient of the loss divided by that
count, update. Everything optional hangs on the loop as callbacks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch

from clapas.checkpoint.writer import retain, write_checkpoint
from clapas.engine.engine import Engine
from clapas.engine.ranks import Ranks
from clapas.engine.state import capture
from clapas.ledger.ledger import NOT_MEASURED
from clapas.loader.loader import Batch, Loader
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import EXIT_DONE, EXIT_RUN_ME_AGAIN, ClapasError, UserError
from clapas.recipe.recipe import Recipe
from clapas.train.callbacks import Callback
from clapas.train.run_folder import Metrics, RunFolder, versions
from clapas.train.schedule import learning_rate_factor
from clapas.train.stop import StopRequest


@dataclass(slots=True)
class Work:
    """What this segment has done since it began."""

    steps: int = 0
    tokens: int = 0
    step_seconds: float = 0.0


class Run:
    """One rank's view of a run that trains. step: optimizer steps done. folder: on rank 0, else None."""

    def __init__(
        self,
        recipe: Recipe,
        ranks: Ranks,
        engine: Engine,
        plan: DataPlan,
        folder: RunFolder | None,
        *,
        step: int,
        hashes: dict[str, str],
        peak_flops: float | None,
    ) -> None:
        self.recipe, self.ranks, self.engine, self.plan, self.folder = recipe, ranks, engine, plan, folder
        self.step, self.hashes = step, hashes
        self.is_first = ranks.rank == 0
        self.work = Work()
        self._callbacks: Sequence[Callback] = ()
        self._begin = time.perf_counter()
        self._logged = Work()
        self._peak_flops = peak_flops
        self._metrics = Metrics(recipe.folder, from_step=step) if folder else None
        self._saved_step = step
        self._flops_per_token = recipe.model.flops_per_token(recipe.data.sequence_length)

    @property
    def identity(self) -> str:
        """The run's identity hash."""
        return self.hashes["identity"]

    @property
    def seconds_per_step(self) -> float:
        """Mean time of this segment's steps."""
        return self.work.step_seconds / max(1, self.work.steps)

    def train(self, callbacks: Sequence[Callback]) -> int:
        """Train until the recipe's last step or an agreed stop. Returns the exit code."""
        stop = StopRequest()
        self._callbacks = callbacks
        try:
            for callback in callbacks:
                callback.on_start(self)
            stopped = self._loop(stop)
        except ClapasError as error:
            self.record("failed", error=str(error), totals=self.totals())
            self._end_folder(error.exit_code, error.what)
            raise
        finally:
            stop.close()
            for callback in callbacks:
                callback.on_end(self)
            if self._metrics:
                self._metrics.close()
        exit_code = EXIT_RUN_ME_AGAIN if stopped and self.step < self.recipe.total_steps else EXIT_DONE
        self._end_segment(exit_code, "done" if exit_code == EXIT_DONE else "asked to stop; saved")
        return exit_code

    def _loop(self, stop: StopRequest) -> bool:
        """The loop. Returns whether it stopped early because some rank was asked to."""
        with self._loader() as loader:
            for micro_batches in self._steps(loader):
                local_targets = float(sum(batch.target_count for batch in micro_batches))
                targets, asked = self.ranks.sum_all([local_targets, float(stop.requested)])
                self._train_step(micro_batches, targets)
                for callback in self._callbacks:
                    callback.on_step(self)
                last = bool(asked) or self.step == self.recipe.total_steps
                if last or self.step % self.recipe.checkpoint.every == 0:
                    self.save(must=last)
                if last:
                    return bool(asked)
        return False

    def _loader(self) -> Loader:
        return Loader(
            self.plan,
            rank=self.ranks.rank,
            world=self.ranks.size,
            micro_batch_size=self.engine.config["train_micro_batch_size_per_gpu"],
            start_step=self.step + 1,
        )

    def _steps(self, loader: Loader) -> Iterator[list[Batch]]:
        batches = iter(loader)
        accumulation = self.engine.config["gradient_accumulation_steps"]
        is_bare = self.plan.manifest.tokenizer is None  # nobody said which ids to expect
        while micro_batches := list(islice(batches, accumulation)):
            if is_bare:
                self._check_ids(micro_batches)
            yield micro_batches

    def _check_ids(self, micro_batches: list[Batch]) -> None:
        """Raise UserError where a batch holds an id that the model does not have."""
        largest = max(int(batch.tokens.max()) for batch in micro_batches)
        if largest >= (size := self.recipe.model.vocab_size):
            raise UserError(
                "the shards hold token ids that the model does not have",
                where=self.recipe.data.path,
                found=f"id {largest}; model.vocab_size {size}",
                wanted="the vocabulary size of the tokenizer that made these shards",
            )

    def _train_step(self, micro_batches: list[Batch], targets: float) -> None:
        begin = time.perf_counter()
        recipe, device = self.recipe, self.ranks.device
        factor = learning_rate_factor(recipe.schedule, self.step + 1, recipe.total_steps)
        learning_rate = recipe.optimizer.lr * factor
        loss_sum = torch.zeros((), device=device, dtype=torch.float64)
        for batch in micro_batches:
            on_device = batch.to(device)
            loss = self.engine(
                on_device.tokens, on_device.positions, on_device.document_ids, targets_BS=on_device.targets
            )
            self.engine.backward(loss, targets)
            loss_sum += loss.detach()
        norm = self.engine.step(learning_rate)
        self.step += 1
        self.work.steps += 1
        self.work.tokens += recipe.tokens_per_step
        if self.step % recipe.telemetry.log_every == 0 or self.step == recipe.total_steps:
            loss = self.ranks.sum(loss_sum.item()) / targets
            self.work.step_seconds += time.perf_counter() - begin
            self._log_step(loss, float(norm), learning_rate)
        else:
            self.work.step_seconds += time.perf_counter() - begin

    def _log_step(self, loss: float, norm: float, learning_rate: float) -> None:
        steps = self.work.steps - self._logged.steps
        seconds = self.work.step_seconds - self._logged.step_seconds
        rate = (self.work.tokens - self._logged.tokens) / seconds
        self._logged = Work(**asdict(self.work))
        mfu = None
        if self._peak_flops is not None:
            mfu = rate * self._flops_per_token / (self._peak_flops * self.ranks.size)
        row = {
            "step": self.step,
            "loss": loss,
            "grad_norm": norm,
            "learning_rate": learning_rate,
            "tokens": self.step * self.recipe.tokens_per_step,
            "tokens_per_second": rate,
            "mfu": mfu,
            "step_seconds": seconds / steps,
        }
        if not math.isfinite(loss) or not math.isfinite(norm):
            way_out = "lower optimizer.lr or look at the data (`clapas audit`); the last checkpoint stands"
            found = f"loss {loss}, gradient norm {norm}"
            with self.ranks.said_once():
                raise ClapasError(
                    f"training diverged at step {self.step}", where=self.recipe.folder, found=found, way_out=way_out
                )
        self.log(row)

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl and show it to the callbacks."""
        if self.folder and self._metrics:
            row["segment"] = self.folder.segment
            self._metrics.append(row)
        for callback in self._callbacks:
            callback.on_log(self, row)

    def save(self, must: bool) -> None:
        """Commit a checkpoint of this step. must: an error ends the run; else it is told and training goes on."""
        if self._saved_step == self.step:
            return
        begin = time.perf_counter()
        snapshot, counters = capture(self.engine)
        next_index = self.step * self.recipe.train.global_batch_size
        facts = {
            "step": self.step,
            **self.hashes,
            "training": {**counters, "loader": {"next_index": next_index, "skipped": []}},
            "recipe": self.recipe.model_dump(mode="json"),
            "versions": versions(),
        }
        checkpoints = self.recipe.folder / "checkpoints"
        try:
            with self.ranks.said_once():
                path = write_checkpoint(checkpoints, snapshot, facts, self.ranks)
        except ClapasError as error:
            if must:
                raise
            self.record("checkpoint_failed", error=str(error))
            return
        self._saved_step = self.step
        if self.is_first:
            retain(checkpoints, self.recipe.checkpoint.keep)
        seconds = round(time.perf_counter() - begin, 3)
        self.record("checkpoint", path=path.name, save_seconds=seconds, totals=self.totals())

    def record(self, event: str, **facts: Any) -> None:
        """Append an event to the ledger (rank 0)."""
        if self.folder:
            self.folder.ledger.append(event, segment=self.folder.segment, step=self.step, **facts)

    def totals(self) -> dict[str, Any]:
        """This segment's sums so far. seconds: wall time since it began to train; flops: the model's own."""
        return {
            "step": self.step,
            "run_tokens": self.step * self.recipe.tokens_per_step,
            "tokens": self.work.tokens,
            "flops": self.work.tokens * self._flops_per_token,
            "seconds": round(time.perf_counter() - self._begin, 3),
            "ranks": self.ranks.size,
            "energy_joules": NOT_MEASURED,
        }

    def _end_segment(self, exit_code: int, reason: str) -> None:
        self.record("segment_end", reason=reason, totals=self.totals())
        self._end_folder(exit_code, reason)

    def _end_folder(self, exit_code: int, reason: str) -> None:
        if self.folder:
            self.folder.end_segment(exit_code, reason, self.step)

    def headline(self) -> str:
        """What is about to be trained, in one line."""
        recipe = self.recipe
        where = "resuming after" if self.step else "starting at"
        return (
            f"{recipe.name}: {recipe.model.parameters():,} parameters, {recipe.total_steps:,} steps of "
            f"{recipe.tokens_per_step:,} tokens, ZeRO-{recipe.parallel.zero_stage}, {recipe.precision}, "
            f"{self.ranks.size} rank{'s' if self.ranks.size > 1 else ''} on {self.ranks.device.type}; "
            f"{where} step {self.step}"
        )
