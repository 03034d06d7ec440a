"""One rank's batches, in order, prepared ahead.

The loader has no state but the step that it starts at: the first batch of step one million comes as fast as the first
of step 1. A rank reads a contiguous part of each step's interval, so any number of ranks that divides the global
batch reads the same samples in each step.
"""

from __future__ import annotations

from collections.abc import Iterator

from clapas.loader.batch import Batch, collate, pad_token, read_sample
from clapas.loader.plan import DataPlan
from clapas.loader.prefetch import Prefetch
from clapas.loader.shard_pool import ShardPool
from clapas.recipe.errors import UserError

__all__ = ["Batch", "Loader"]

AHEAD = 4
"""Micro-batches prepared before they are needed: enough to hide a slow read, small beside a model's activations."""


class Loader:
    """The micro-batches that one rank reads, from a step on, without end.

    rank, world: this data-parallel rank, and how many there are. micro_batch_size: samples in one batch. A step is
    `accumulation` batches one after another. Close it, or leave its `with` block, to end its thread. Raises UserError
    where ranks and micro-batches do not divide the global batch; while iterating, where data was altered.
    """

    def __init__(self, plan: DataPlan, *, rank: int, world: int, micro_batch_size: int, start_step: int = 1) -> None:
        share = len(plan.rank_interval(1, rank, world))
        if share % micro_batch_size:
            raise UserError(
                "the micro-batch does not divide a rank's share of the global batch",
                where="train.micro_batch_size",
                found=f"{micro_batch_size}, with {plan.global_batch_size} samples on {world} ranks",
                wanted=f"a divisor of {share}",
            )
        self.plan, self.rank, self.world = plan, rank, world
        self.micro_batch_size, self.start_step = micro_batch_size, start_step
        self.accumulation = share // micro_batch_size
        self._ahead: Prefetch[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        self.close()
        self._ahead = Prefetch(self._batches(), AHEAD)
        return iter(self._ahead)

    def close(self) -> None:
        """End the thread that prepares batches."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _batches(self) -> Iterator[Batch]:
        pool = ShardPool(self.plan.manifest)
        config = self.plan.config
        pad = pad_token(self.plan.manifest)
        step = self.start_step
        while True:
            indices = self.plan.rank_interval(step, self.rank, self.world)
            for first in range(0, len(indices), self.micro_batch_size):
                micro_batch = indices[first : first + self.micro_batch_size]
                samples = [read_sample(pool, self.plan.spans(index), config.document_mask) for index in micro_batch]
                yield collate(samples, config.sequence_length, pad)
            step += 1
