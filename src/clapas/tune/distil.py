"""`clapas distil`: what a teacher says of a recipe's data, stored, so that no student's rank needs to hold it.

Ranks (torchrun, srun or --nproc) take shards in turn and exchange nothing. What is finished stays: the same command
goes on where it was stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from clapas.engine.ranks import Ranks, start_ranks, stop_ranks
from clapas.loader.batch import NO_TARGET, Sample, collate, pad_token, read_examples, read_sample
from clapas.loader.plan import DataPlan, without_removed
from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span
from clapas.model.cpu import prepare_cpu
from clapas.recipe.errors import ClapasError, UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.recipe import Recipe
from clapas.tune.config import Distillation
from clapas.tune.distillation import with_teacher
from clapas.tune.stored_teacher import (
    FACTS,
    Facts,
    StoredShard,
    cells_of,
    check_facts,
    facts_of,
    is_sealed,
    is_stored,
    places,
    read_facts,
)
from clapas.tune.teacher import Teacher
from clapas_data.shards import token_dtype

BATCH = 8
"""Samples of a batch where the recipe names no micro-batch."""


def distil(recipe: Recipe, out: Path) -> None:
    """Store what the recipe's teacher says into the folder `out`, or go on doing so.

    Raises UserError where the recipe is no distillation by a model, or `out` holds something else.
    """
    ranks = start_ranks()
    try:
        with ranks.said_once():
            _distil(recipe, out, ranks)
    finally:
        stop_ranks()


def _distil(recipe: Recipe, out: Path, ranks: Ranks) -> None:
    plan = DataPlan.of_recipe(recipe)
    objective, facts = _asked(recipe, plan)
    if is_stored(out):
        check_facts(out, read_facts(out), facts, str(out))
    elif out.exists() and any(out.iterdir()):
        raise UserError("not empty, and not what `clapas distil` wrote", where=out, way_out="choose another --out")
    ranks.all(True)  # nobody writes before all have looked
    manifest, needed = plan.manifest, places(plan)
    left = [place for place in needed if not is_sealed(out, manifest.shards[place].path)]
    if ranks.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        atomic_write(out / FACTS, facts.model_dump_json(indent=2) + "\n")
        size = sum(manifest.shards[place].tokens for place in left) * facts.token_bytes
        print(
            f"{out}: {len(left)} of {len(needed)} shards to store, {facts.token_bytes} bytes a token, "
            f"{size / 1e9:,.3f} GB",
            file=sys.stderr,
        )
    ranks.all(True)
    own = left[ranks.rank :: ranks.size]
    error, kind = None, UserError
    try:
        _store(recipe, objective, plan, own, facts, out, ranks)
    except ClapasError as problem:  # of one rank's shard, perhaps: the others would wait for it
        error, kind = str(problem), type(problem) if isinstance(problem, UserError) else ClapasError
    if agreed := ranks.agree_on_error(error):
        raise kind(agreed)


def _store(
    recipe: Recipe, objective: Distillation, plan: DataPlan, own: Sequence[int], facts: Facts, out: Path, ranks: Ranks
) -> None:
    """Store this rank's shards."""
    if not own:
        return
    if ranks.device.type == "cpu":
        prepare_cpu()
    teacher = Teacher.of_recipe(recipe, objective, ranks.device)
    for place in own:
        _Storing(plan, place, teacher, facts).into(out, recipe.phases.at(1).micro_batch_size or BATCH)
        print(f"{plan.manifest.shards[place].path}: stored", file=sys.stderr)


def _asked(recipe: Recipe, plan: DataPlan) -> tuple[Distillation, Facts]:
    objective = recipe.objective
    if not isinstance(objective, Distillation):
        raise UserError(
            "the recipe has no teacher",
            where=recipe.place("objective.name"),
            found=objective.name,
            wanted="distillation",
            way_out="objective.name=distillation objective.teacher=FOLDER",
        )
    if is_stored(objective.teacher):
        raise UserError(
            "the teacher is stored already",
            where=recipe.place("objective.teacher"),
            found=objective.teacher,
            wanted="a model: a Hugging Face folder, a run or a checkpoint",
        )
    objective = with_teacher(recipe, plan).objective
    assert isinstance(objective, Distillation)
    assert objective.seal is not None
    return objective, facts_of(recipe, objective, objective.seal, plan)


class _Storing:
    """A shard whose samples are read, asked about and kept."""

    def __init__(self, plan: DataPlan, place: int, teacher: Teacher, facts: Facts) -> None:
        self._plan, self._place, self._teacher, self._facts = plan, place, teacher, facts
        self._pool, self._pad = ShardPool(plan.manifest), pad_token(plan.manifest)
        self._dtype = token_dtype(facts.vocab_size)

    def into(self, out: Path, batch_size: int) -> None:
        """Store all of it in the folder `out`."""
        entry = self._plan.manifest.shards[self._place]
        (out / entry.path).parent.mkdir(parents=True, exist_ok=True)
        with StoredShard(out, self._facts, entry.path, entry.tokens) as shard:
            for spans_of_samples in self._batches(batch_size):
                self._batch(shard, spans_of_samples)
            shard.seal()

    def _batches(self, size: int) -> Iterator[list[list[Span]]]:
        """Each sample's spans, without what was removed, some samples at a time."""
        stream, cells = cells_of(self._plan, self._place)
        for first in range(0, len(cells), size):
            found = [stream.sample(cell, self._facts.sequence_length) for cell in cells[first : first + size]]
            yield [list(without_removed(self._plan.manifest, spans)) for spans in found]

    def _batch(self, shard: StoredShard, spans_of_samples: Sequence[list[Span]]) -> None:
        """Ask about some samples, and keep what follows tokens of this shard."""
        samples = [self._sample(spans) for spans in spans_of_samples]
        batch = collate(samples, max(1, *(len(sample.tokens) - 1 for sample in samples)), self._pad)
        told = self._teacher.say(batch.to(self._teacher.device))
        is_target_BS = (batch.targets != NO_TARGET).numpy()
        ids = np.zeros((*is_target_BS.shape, self._facts.top_k), self._dtype)
        log_probabilities = np.zeros((*is_target_BS.shape, self._facts.events), np.float16)
        ids[is_target_BS] = told.ids_Nk.cpu().numpy()
        log_probabilities[is_target_BS] = told.log_probabilities.cpu().numpy()
        for row, (sample, spans) in enumerate(zip(samples, spans_of_samples, strict=True)):
            at, end = 0, len(sample.tokens) - 1  # the last token predicts nothing here: the next sample begins with it
            for span in spans:
                stop = min(at + span.stop - span.start, end)
                if span.shard == self._place and stop > at:
                    shard.add(span.start, ids[row, at:stop], log_probabilities[row, at:stop])
                at += span.stop - span.start

    def _sample(self, spans: list[Span]) -> Sample:
        if self._plan.packing.is_packed:
            return read_examples(self._pool, spans)
        return read_sample(self._pool, spans, self._plan.document_mask)
