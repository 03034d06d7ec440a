"""Distillation: a student learns what a teacher says of every next token (Hinton et al., 2015, arXiv:1503.02531).

    alpha T^2 D(teacher, student) + (1 - alpha) cross-entropy,   summed over the targets

D: see `tune.divergence`; T: the temperature of both. T^2 keeps the size of its gradient as T grows. What is known of
the teacher is asked while training (`tune.teacher`) or was stored before (`tune.stored_teacher`): the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas.loader.batch import NO_TARGET, Batch
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.tune.config import Distillation
from clapas.tune.divergence import Told, divergence, events, normalised
from clapas.tune.objective import Objective, Training
from clapas.tune.rows_in_chunks import sum_over_rows
from clapas.tune.stored_teacher import StoredTeacher, check_facts, facts_of, is_stored, places, read_facts
from clapas.tune.teacher import Teacher, check_same_tokenizer, check_top_k, find_teacher

COLUMNS = ("divergence", "cross_entropy")


@dataclass(frozen=True, slots=True)
class TaughtBatch(Batch):
    """A batch with what its teacher says of its targets, in row-major order (see `divergence.Told`)."""

    teacher_ids: Tensor | None = None
    teacher_log_probabilities: Tensor | None = None


def distillation(recipe: Recipe) -> Objective:
    """The objective of a recipe whose teacher was found (`with_teacher`)."""
    assert isinstance(recipe.objective, Distillation)
    distiller = _Distiller(recipe.objective)
    return Objective(distiller.loss, begin=distiller.begin, prepare=distiller.prepare)


def with_teacher(recipe: Recipe, plan: DataPlan) -> Recipe:
    """The recipe with the seal of its teacher, if it is a distillation.

    Raises UserError where the teacher is not there, is another one than the run began with, has another tokenizer than
    the data, or what is stored is not what the recipe asks for.
    """
    objective = recipe.objective
    if not isinstance(objective, Distillation):
        return recipe
    where = recipe.place("objective.teacher")
    stored = read_facts(objective.teacher) if is_stored(objective.teacher) else None
    if stored is None:
        found = find_teacher(objective.teacher, where, recipe.folder)
        tokenizer, seal = check_same_tokenizer(recipe, found, plan.manifest), found.seal
        check_top_k(recipe, objective, tokenizer)
        _refuse_shared_sequences(recipe)
    else:
        seal = stored.seal
        check_facts(objective.teacher, stored, facts_of(recipe, objective, seal, plan), where)
    if objective.seal is not None and objective.seal != seal:
        raise UserError(
            "this is not the teacher that the run began with",
            where=where,
            found=f"seal {seal} in {objective.teacher}",
            wanted=objective.seal,
            way_out="bring that teacher back, or start another run: objective.seal=null and a run_dir of its own",
        )
    return recipe.model_copy(update={"objective": objective.model_copy(update={"seal": seal})})


def _refuse_shared_sequences(recipe: Recipe) -> None:
    if recipe.parallel.sequence > 1:
        raise UserError(
            "a live teacher needs whole texts, and these ranks share each of them",
            where=recipe.place("parallel.sequence"),
            found=f"parallel.sequence {recipe.parallel.sequence}",
            wanted="1, or a teacher that is stored",
            way_out="`clapas distil RECIPE --out FOLDER` with parallel.sequence=1, then objective.teacher=FOLDER",
        )


class _Distiller:
    """The teacher of a run, once it has begun."""

    def __init__(self, objective: Distillation) -> None:
        self._objective = objective
        self._stored: StoredTeacher | None = None
        self._live: Teacher | None = None
        self._vocab_size = 0

    def begin(self, run: Training) -> None:
        """Open what is stored, or load the teacher, which all ranks hold."""
        objective, recipe, plan = self._objective, run.recipe, run.plan
        if self._stored is None and self._live is None:
            if is_stored(objective.teacher):
                facts = read_facts(objective.teacher)
                self._stored = StoredTeacher(objective.teacher, facts, plan.manifest, places(plan))
                self._vocab_size = facts.vocab_size
            else:
                self._live = Teacher.of_recipe(recipe, objective, run.ranks.device)
                self._vocab_size = self._live.vocab_size
        kind = "stored" if self._stored else "live"
        run.record("teacher", folder=str(objective.teacher), seal=objective.seal, kind=kind)

    def prepare(self, run: Training, batches: list[Batch]) -> list[Batch]:
        """The step's micro-batches with what is stored for them."""
        if self._stored is None:
            return batches
        ranks, taught = run.ranks, list[Batch]()
        indices = run.plan.rank_interval(run.step + 1, ranks.data_rank, ranks.data_size)
        for batch in batches:
            own, indices = indices[: len(batch.tokens)], indices[len(batch.tokens) :]
            first, _ = ranks.positions(batch.tokens.shape[1] * ranks.sequence)
            told = self._stored.say(
                [run.plan.spans(index) for index in own], (batch.targets != NO_TARGET).numpy(), first
            )
            values = {field.name: getattr(batch, field.name) for field in fields(batch)}
            taught.append(TaughtBatch(**values, teacher_ids=told[0], teacher_log_probabilities=told[1]))
        return taught

    def loss(self, engine: Any, batch: Batch) -> tuple[Any, ...]:
        """What is minimised, summed over the targets; each sample's; the divergence and the cross-entropy alone."""
        if isinstance(batch, TaughtBatch) and batch.teacher_ids is not None:
            assert batch.teacher_log_probabilities is not None
            told = Told(batch.teacher_ids, batch.teacher_log_probabilities)
        else:
            assert self._live is not None, "`begin` loads it"
            told = self._live.say(batch)
        (loss, losses_B, divergences, cross_entropies), balance = engine(
            batch.tokens,
            batch.positions,
            batch.document_ids,
            document_starts=batch.document_starts,
            targets_BS=batch.targets,
            criterion=criterion(self._objective, batch.targets, told, self._vocab_size),
        )
        columns = dict(zip(COLUMNS, (divergences, cross_entropies), strict=True))
        return loss if balance is None else loss + balance, losses_B, columns


def criterion(
    objective: Distillation, targets_BS: Tensor, told: Told, vocab_size: int
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]:
    """What `model.decoder.CausalLM` calls: (the sum over targets; each sample's, (B,); summed divergences and
    cross-entropies, without gradient). vocab_size: ids of the tokenizer, which the divergence is over."""
    is_target_BS = targets_BS != NO_TARGET
    targets_N = targets_BS[is_target_BS]
    alpha, temperature = objective.alpha, objective.temperature

    def of_logits(logits_CV: Tensor, chunk: slice) -> tuple[Tensor, Tensor]:
        student = events(logits_CV[:, :vocab_size] / temperature, told.ids_Nk[chunk])
        teacher = normalised(told.log_probabilities[chunk], logits_CV.dtype)
        divergences_C = divergence(objective.kind, teacher, student)
        cross_entropies_C = F.cross_entropy(logits_CV, targets_N[chunk], reduction="none")
        minimised_C = alpha * temperature**2 * divergences_C + (1 - alpha) * cross_entropies_C
        return minimised_C, torch.stack([minimised_C, divergences_C, cross_entropies_C], dim=-1).detach()

    def of_hidden(hidden_BSE: Tensor, weight_VE: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        loss, told_N3 = sum_over_rows(hidden_BSE[is_target_BS], weight_VE, of_logits, told=3)
        losses_BS = told_N3.new_zeros(targets_BS.shape).masked_scatter_(is_target_BS, told_N3[:, 0])
        return loss, losses_BS.sum(1), told_N3[:, 1].sum(), told_N3[:, 2].sum()

    return of_hidden
