"""GRPO as an objective of the training loop: `prepare` makes rollouts of the prompts that were read, `loss` learns.

A step's rollouts are a function of the weights, the seed, the step, and the prompt's number: not of how the step is
split over ranks and micro-batches. Every update learns from completions of the weights just before it (decision 154).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from clapas.evaluate.load import read_tokenizer
from clapas.evaluate.stop_ids import turn_ends
from clapas.loader.batch import Batch, pad_token
from clapas.loader.shard_pool import ShardPool
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.tune.grpo.advantages import group_advantages, standard_deviation
from clapas.tune.grpo.config import Grpo
from clapas.tune.grpo.engines.engine import GenerationEngine, open_engine
from clapas.tune.grpo.judged import Judged, StepMeasures, measure
from clapas.tune.grpo.loss import policy_loss
from clapas.tune.grpo.policy import scored
from clapas.tune.grpo.prompts import Prompt, Prompts
from clapas.tune.grpo.reference import Reference, open_reference
from clapas.tune.grpo.rewards.build import Rewards, has_answer, unanswered
from clapas.tune.grpo.rewards.reward import Group
from clapas.tune.grpo.rollout_log import RolloutLine, RolloutLog
from clapas.tune.grpo.rollouts import Completion, Rollout, RolloutBatch, collate_rollouts
from clapas.tune.objective import Objective, Training
from clapas.tune.read_by_run import documents_of, spans_of_run
from clapas_data.examples import TOKENIZER

Answered = list[tuple[Prompt, list[Completion]]]
"""Prompts, each with its group's completions."""


def grpo(recipe: Recipe) -> Objective:
    """The recipe's `objective`. Raises UserError for a reward's function that is not there."""
    assert isinstance(recipe.objective, Grpo)
    rewards = Rewards.of(recipe.objective, recipe.place("objective.rewards"))
    policy = _Grpo(recipe.objective, rewards)
    return Objective(policy.loss, counts=_units, begin=policy.begin, prepare=policy.prepare)


def _units(batch: Batch) -> Tensor:
    assert isinstance(batch, RolloutBatch)
    return batch.units_B


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a segment works with. ends: tokens that end a completion."""

    prompts: Prompts
    engine: GenerationEngine
    reference: Reference | None
    log: RolloutLog | None
    pad: int
    ends: frozenset[int]


class _Grpo:
    def __init__(self, objective: Grpo, rewards: Rewards) -> None:
        self._objective, self._rewards = objective, rewards
        self._opened: _Parts | None = None

    @property
    def _parts(self) -> _Parts:
        assert self._opened is not None, "`begin` opens them"
        return self._opened

    def begin(self, run: Training) -> None:
        """Open prompts, engine, reference and log; of a run that goes back the log alone, for the rest is there.

        Raises UserError on all ranks alike.
        """
        log = RolloutLog(run.path, run.step) if run.is_first else None
        if self._opened is not None:
            self._opened.engine.run = run
            self._opened = replace(self._opened, log=log)
            return
        manifest = run.plan.manifest
        assert manifest.tokenizer is not None
        with run.ranks.said_once():
            folder = manifest.folder / TOKENIZER
            prompts, ends = Prompts(manifest, read_tokenizer(folder)), frozenset(turn_ends(folder))
            self._refuse_unanswered(run, prompts)
            vocabulary = min(manifest.tokenizer.vocab_size, run.recipe.model.vocab_size)
            engine = open_engine(run, self._objective, ends=ends, vocabulary=vocabulary)
            reference = open_reference(run) if self._objective.beta else None
        self._opened = _Parts(prompts, engine, reference, log, pad_token(manifest), ends)

    def _refuse_unanswered(self, run: Training, prompts: Prompts) -> None:
        """Raise UserError where the run would read a prompt whose answer nobody knows: not at the step that does."""
        if not self._rewards.answers:
            return
        pool = ShardPool(run.plan.manifest)
        documents = [number for spans in spans_of_run(run) for number in documents_of(pool, spans)]
        for column in self._rewards.answers:
            lacking = [number for number in documents if not has_answer(prompts.columns(number), column)]
            if lacking:
                first = min(lacking)
                raise unanswered(prompts.name(first), column, prompts.columns(first), len(set(lacking)) - 1)

    def prepare(self, run: Training, micro_batches: list[Batch]) -> list[Batch]:
        """Rollouts of the prompts of each micro-batch, on the CPU. Collective."""
        self._parts.engine.begin_step()
        answered = [self._answer(run, list(self._parts.prompts.of_batch(batch))) for batch in micro_batches]
        judged = self._judge_together(run, answered)
        measures = measure(run.ranks, [each for own in judged for each in own], self._rewards.weights)
        advantages = [[self._advantages(each, measures.deviation) for each in own] for own in judged]
        self._log(run, judged, advantages)
        return [self._batch(run, *own, measures) for own in zip(judged, advantages, strict=True)]

    def loss(self, engine: Any, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See `tune.objective.LossFunction`. The units are tokens with `dapo`, else completions."""
        assert isinstance(batch, RolloutBatch)
        log_p_BS, entropy, balance = scored(engine, batch, self._objective.temperature)
        found = policy_loss(log_p_BS, batch, self._objective)
        units = batch.units_B.sum()
        loss = found.loss_B.sum()
        if balance is not None:  # a sum over targets: a unit's share of it is that of its tokens
            loss = loss + balance * units / max(1, batch.target_count)
        sums = {"entropy": entropy, "clip_ratio": found.clipped, "sampling_difference": found.difference}
        if found.kl is not None:
            sums["kl"] = found.kl
        columns = {name: value * batch.units_per_token for name, value in sums.items()}
        columns |= {name: units * value for name, value in batch.told.items()}
        return loss, found.loss_B.detach(), columns

    def _answer(self, run: Training, prompts: Sequence[Prompt]) -> Answered:
        """Completions of each prompt. A rank without a prompt computes with the others all the same."""
        size = self._objective.group_size
        asked = [prompt.tokens for prompt in prompts for _ in range(size)] or [[self._parts.pad]]
        seeds = [seed_of(run, prompt.document, member) for prompt in prompts for member in range(size)] or [0]
        completions = self._parts.engine.generate(asked, seeds)
        return [(prompt, completions[place * size : (place + 1) * size]) for place, prompt in enumerate(prompts)]

    def _judge_together(self, run: Training, answered: Sequence[Answered]) -> list[list[Judged]]:
        """Reward all completions. Raises UserError, on all ranks, where a reward fails on one."""
        judged: list[list[Judged]] = []
        error = None
        try:
            for own in answered:
                judged.append([self._judge(prompt, completions) for prompt, completions in own])
                run.heart.beat()
        except UserError as problem:
            error = str(problem)
        if agreed := run.ranks.agree_on_error(error):
            with run.ranks.said_once():
                raise UserError(agreed)
        return judged

    def _judge(self, prompt: Prompt, completions: list[Completion]) -> Judged:
        prompts = self._parts.prompts
        group = Group(
            prompts.name(prompt.document),
            prompts.text(prompt.tokens, special=True),
            [prompts.text(completion.tokens) for completion in completions],
            [completion.tokens for completion in completions],
            prompts.columns(prompt.document),
        )
        rewards = self._rewards(group)
        return Judged(
            prompt,
            completions,
            [prompts.text(completion.tokens, special=True) for completion in completions],
            rewards,
            self._rewards.total(rewards),
            [completion.tokens[-1] not in self._parts.ends for completion in completions],
        )

    def _advantages(self, judged: Judged, deviation: float) -> list[float]:
        """deviation: of the whole step's rewards."""
        scale = self._objective.scale_rewards
        own = {"group": standard_deviation(judged.totals), "batch": deviation, "none": None}[scale]
        return group_advantages(judged.totals, own)

    def _batch(
        self, run: Training, judged: list[Judged], advantages: list[list[float]], measures: StepMeasures
    ) -> RolloutBatch:
        """A micro-batch of rollouts, with what the reference model says of them."""
        rollouts = [
            Rollout(each.prompt.tokens, completion, advantage, each.prompt.source_id)
            for each, values in zip(judged, advantages, strict=True)
            for completion, advantage in zip(each.completions, values, strict=True)
        ]
        units_are_tokens = self._objective.loss == "dapo"
        batch = replace(
            collate_rollouts(rollouts, self._parts.pad, units_are_tokens=units_are_tokens),
            told=measures.columns,
            units_per_token=1.0 if units_are_tokens else measures.completions / max(1.0, measures.tokens),
        )
        if self._parts.reference is None:
            return batch
        reference_BS = self._parts.reference(batch.to(run.ranks.device), self._objective.temperature)
        run.heart.beat()
        return replace(batch, reference_BS=reference_BS.cpu())

    def _log(self, run: Training, judged: list[list[Judged]], advantages: list[list[list[float]]]) -> None:
        """Write the rollouts of all ranks, in the order of their prompts in the step. Collective."""
        lines = [
            RolloutLine(
                step=run.step + 1,
                document=each.prompt.document,
                id=self._parts.prompts.name(each.prompt.document),
                member=member,
                completion=each.texts[member],
                rewards={name: values[member] for name, values in each.rewards.items()},
                reward=each.totals[member],
                advantage=advantage,
                tokens=len(each.completions[member].tokens),
                truncated=each.truncated[member],
            ).to_json()
            for own, their_advantages in zip(judged, advantages, strict=True)
            for each, values_of in zip(own, their_advantages, strict=True)
            for member, advantage in enumerate(values_of)
        ]
        everyone = run.ranks.gather_texts(b"".join(lines).decode())
        if self._parts.log is not None:
            self._parts.log.append(everyone)


def seed_of(run: Training, document: int, member: int) -> int:
    """The seed of one completion: of the run's seed, the step under way, the prompt and its place in the group."""
    words = np.random.SeedSequence([run.recipe.seed, run.step + 1, document, member]).generate_state(2)
    return int(words[0]) << 31 ^ int(words[1])
