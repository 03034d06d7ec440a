"""One rank's batches, in order, prepared ahead.

The loader has no state but the step that it starts at: the first batch of step one million comes as fast as the first
of step 1. A rank reads a contiguous part of each step's interval, so any number of ranks that divides the global
batch reads the same samples in each step.

    with Loader.of_folder("data/demo", sequence_length=256, batch_size=8) as loader:
        for batch in loader:
            loss = my_model(batch.tokens, batch.targets)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from clapas.loader.batch import (
    Batch,
    Sample,
    collate,
    pad_token,
    read_examples,
    read_sample,
    shortest_length,
)
from clapas.loader.packing import Packing, PackingKind, TooLong
from clapas.loader.plan import DataPlan
from clapas.loader.prefetch import Prefetch
from clapas.loader.shard_pool import ShardPool
from clapas.recipe.errors import UserError
from clapas.recipe.phases import Phases
from clapas_data.manifest import open_manifest

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe

__all__ = ["Batch", "Loader"]

AHEAD = 4
"""Micro-batches prepared before they are needed: enough to hide a slow read, small beside a model's activations."""


class Loader:
    """The micro-batches that one rank reads, from a step on, to the end of the run where the plan knows of one.

    plan: what each step reads; `Loader.from_recipe` and `Loader.of_folder` make one.
    rank, world: this data-parallel rank, and how many there are. start_step: from 1.
    micro_batch_size: samples in one batch; by default as the plan says it of each step.
    Iterate it for batches, or `steps()` for the batches of each step. Close it, or leave its `with` block, to end its
    thread. Raises UserError where ranks and micro-batches do not divide a global batch; while iterating, where data was
    altered.
    """

    def __init__(
        self,
        plan: DataPlan,
        *,
        rank: int = 0,
        world: int = 1,
        micro_batch_size: int | None = None,
        start_step: int = 1,
    ) -> None:
        self.plan, self.rank, self.world = plan, rank, world
        self.micro_batch_size, self.start_step = micro_batch_size, start_step
        self._ahead: Prefetch[Batch] | None = None
        for phase in plan.phases:
            self._micro_batch(phase.first_step)

    @classmethod
    def from_recipe(cls, recipe: Recipe, *, rank: int = 0, world: int = 1, start_step: int = 1) -> Loader:
        """The batches of a recipe's run, exactly as `clapas train` reads them."""
        return cls(DataPlan.of_recipe(recipe), rank=rank, world=world, start_step=start_step)

    @classmethod
    def of_folder(
        cls,
        folder: str | Path,
        *,
        sequence_length: int,
        batch_size: int,
        mixture: Mapping[str, float] | None = None,
        document_mask: bool = False,
        packing: PackingKind = "stream",
        too_long: TooLong = "drop",
        seed: int = 0,
        split: str = "train",
        steps: int | None = None,
        rank: int = 0,
        world: int = 1,
        start_step: int = 1,
    ) -> Loader:
        """Batches of a folder of shards: `clapas data build`'s, or bare Megatron `.bin` and `.idx` files.

        batch_size: samples of `sequence_length` tokens in a batch of this rank; a step has one on each rank.
        mixture, document_mask, packing, too_long: as in a recipe's `data`. steps: the batches of this rank, by default
        without end, epoch after epoch. Raises UserError where folder, split, mixture or lengths do not fit together.
        """
        phases = Phases.constant(batch_size * world, sequence_length, mixture, steps)
        plan = DataPlan(
            open_manifest(Path(folder)),
            phases,
            seed=seed,
            document_mask=document_mask,
            packing=Packing(packing, too_long),
            split=split,
        )
        return cls(plan, rank=rank, world=world, start_step=start_step)

    def __iter__(self) -> Iterator[Batch]:
        self.close()
        self._ahead = Prefetch(self._batches(), AHEAD)
        return iter(self._ahead)

    def steps(self) -> Iterator[list[Batch]]:
        """The micro-batches of each step."""
        batches = iter(self)
        for step in count(self.start_step):
            if not (micro_batches := list(islice(batches, self.accumulation(step)))):
                return
            yield micro_batches

    def accumulation(self, step: int) -> int:
        """Micro-batches of this rank in a step."""
        return self._micro_batch(step)[1]

    def close(self) -> None:
        """End the thread that prepares batches."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _micro_batch(self, step: int) -> tuple[int, int]:
        """(samples of a micro-batch, micro-batches of this rank) in a step."""
        share = len(self.plan.rank_interval(step, self.rank, self.world))
        phase = self.plan.phases.at(step)
        micro = self.micro_batch_size or phase.micro_batch_size or share
        if share % micro:
            raise UserError(
                "the micro-batch does not divide a rank's share of the global batch",
                where="train.micro_batch_size",
                found=f"{micro}, with {phase.global_batch_size} samples on {self.world} ranks",
                wanted=f"a divisor of {share}",
            )
        return micro, share // micro

    def _batches(self) -> Iterator[Batch]:
        pool = ShardPool(self.plan.manifest)
        pad = pad_token(self.plan.manifest)
        for step in count(self.start_step):
            if self.plan.phases.total_steps is not None and step > self.plan.phases.total_steps:
                return
            indices = self.plan.rank_interval(step, self.rank, self.world)
            length, (micro, _) = self.plan.phases.at(step).sequence_length, self._micro_batch(step)
            for first in range(0, len(indices), micro):
                samples = [self._sample(pool, index) for index in indices[first : first + micro]]
                trimmed = shortest_length(samples, length) if self.plan.packing.kind == "none" else length
                yield collate(samples, trimmed, pad)

    def _sample(self, pool: ShardPool, index: int) -> Sample:
        spans = self.plan.spans(index)
        if self.plan.packing.is_packed:
            return read_examples(pool, spans, self.plan.source_id(spans))
        return read_sample(pool, spans, self.plan.document_mask, self.plan.source_id(spans))
