"""GRPO as an objective of the training loop: `prepare` makes rollouts of the prompts that were read, `loss` learns.

A step's rollouts are a function of the weights, the seed, the step, and the prompt's number: not of how the step is
split over ranks and micro-batches. Every update learns from completions of the weights just before it (decision 154).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from clapas.evaluate.load import read_tokenizer
from clapas.loader.batch import Batch, pad_token
from clapas.recipe.errors import UserError
from clapas.tune.grpo.advantages import group_advantages, standard_deviation
from clapas.tune.grpo.config import Grpo
from clapas.tune.grpo.engines.engine import GenerationEngine, open_engine
from clapas.tune.grpo.loss import policy_loss
from clapas.tune.grpo.policy import scored
from clapas.tune.grpo.prompts import Prompt, Prompts
from clapas.tune.grpo.reference import Reference, open_reference
from clapas.tune.grpo.rewards.build import Rewards
from clapas.tune.grpo.rewards.reward import Group
from clapas.tune.grpo.rollout_log import RolloutLine, RolloutLog
from clapas.tune.grpo.rollouts import Completion, Rollout, RolloutBatch, collate_rollouts
from clapas.tune.objective import Objective, Training
from clapas_data.examples import TOKENIZER


def grpo_objective(objective: Grpo, where: str) -> Objective:
    """The recipe's `objective`. where: of its rewards, for messages. Raises UserError for a reward that is not there."""
    policy = _Grpo(objective, Rewards.of(objective, where))
    return Objective(policy.loss, counts=_units, begin=policy.begin, prepare=policy.prepare)


def _units(batch: Batch) -> Tensor:
    assert isinstance(batch, RolloutBatch)
    return batch.units_B


@dataclass(frozen=True, slots=True)
class _Judged:
    """A prompt with its completions. rewards: by name. totals: their weighted sums."""

    prompt: Prompt
    completions: list[Completion]
    texts: list[str]
    rewards: dict[str, list[float]]
    totals: list[float]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a segment works with."""

    prompts: Prompts
    engine: GenerationEngine
    reference: Reference | None
    log: RolloutLog | None
    pad: int
    ends: frozenset[int]


class _Grpo:
    def __init__(self, objective: Grpo, rewards: Rewards) -> None:
        self._objective, self._rewards = objective, rewards
        self._parts: _Parts | None = None

    @property
    def parts(self) -> _Parts:
        """What `begin` opened."""
        assert self._parts is not None
        return self._parts

    def begin(self, run: Training) -> None:
        """Open prompts, engine, reference and log. Raises UserError, on all ranks alike, where one is not as it must."""
        manifest = run.plan.manifest
        with run.ranks.said_once():
            assert manifest.tokenizer is not None
            folder = manifest.folder / TOKENIZER
            prompts = Prompts(manifest, read_tokenizer(folder))
            ends = frozenset([manifest.tokenizer.eos])
            vocabulary = min(manifest.tokenizer.vocab_size, run.recipe.model.vocab_size)
            engine = open_engine(run, self._objective, ends=ends, vocabulary=vocabulary)
            reference = open_reference(run) if self._objective.beta else None
        log = RolloutLog(run.path, run.step) if run.is_first else None
        self._parts = _Parts(prompts, engine, reference, log, pad_token(manifest), ends)

    def prepare(self, run: Training, micro_batches: list[Batch]) -> list[Batch]:
        """Rollouts of the prompts of each micro-batch, on the CPU. Collective."""
        self.parts.engine.begin_step()
        answered = [self._answer(run, list(self.parts.prompts.of_batch(batch))) for batch in micro_batches]
        judged = self._judge_together(run, answered)
        told, deviation, units_per_token = self._measure(run, judged)
        advantages = [[self._advantages(each, deviation) for each in group] for group in judged]
        self._log(run, judged, advantages)
        batches: list[Batch] = []
        for own, their_advantages in zip(judged, advantages, strict=True):
            rollouts = [
                Rollout(each.prompt.tokens, completion, advantage, each.prompt.source_id)
                for each, values in zip(own, their_advantages, strict=True)
                for completion, advantage in zip(each.completions, values, strict=True)
            ]
            batch = collate_rollouts(rollouts, self.parts.pad, units_are_tokens=self._objective.loss == "dapo")
            batch = replace(batch, told=told, units_per_token=units_per_token)
            if self.parts.reference is not None:
                scored_BS = self.parts.reference(batch.to(run.ranks.device), self._objective.temperature)
                batch = replace(batch, reference_BS=scored_BS.cpu())
                run.heart.beat()
            batches.append(batch)
        return batches

    def loss(self, engine: Any, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See `tune.objective.LossFunction`. The units are tokens with `dapo`, else completions."""
        assert isinstance(batch, RolloutBatch)
        log_p_BS, entropy, balance = scored(engine, batch, self._objective.temperature)
        found = policy_loss(log_p_BS, batch, self._objective)
        units = batch.units_B.sum()
        loss = found.loss_B.sum()
        if balance is not None:  # a sum over targets: as many units as they are, it weighs as in pretraining
            loss = loss + balance * units / max(1, batch.target_count)
        sums = {"entropy": entropy, "clip_ratio": found.clipped, "sampling_difference": found.difference}
        if found.kl is not None:
            sums["kl"] = found.kl
        columns = {name: value * batch.units_per_token for name, value in sums.items()}
        columns |= {name: units * value for name, value in batch.told.items()}
        return loss, found.loss_B.detach(), columns

    def _answer(self, run: Training, prompts: Sequence[Prompt]) -> list[tuple[Prompt, list[Completion]]]:
        """Each prompt with its group's completions. A rank without a prompt computes with the others all the same."""
        size = self._objective.group_size
        asked = [prompt.tokens for prompt in prompts for _ in range(size)] or [[self.parts.pad]]
        seeds = [seed_of(run, prompt.document, member) for prompt in prompts for member in range(size)] or [0]
        completions = self.parts.engine.generate(asked, seeds)
        return [(prompt, completions[place * size : (place + 1) * size]) for place, prompt in enumerate(prompts)]

    def _judge_together(
        self, run: Training, answered: Sequence[Sequence[tuple[Prompt, list[Completion]]]]
    ) -> list[list[_Judged]]:
        """Reward all completions. Raises UserError, on all ranks, where a reward fails on one."""
        judged: list[list[_Judged]] = []
        error = None
        try:
            for group in answered:
                judged.append([self._judge(prompt, completions) for prompt, completions in group])
                run.heart.beat()
        except UserError as problem:
            error = str(problem)
        if agreed := run.ranks.agree_on_error(error):
            with run.ranks.said_once():
                raise UserError(agreed)
        return judged

    def _judge(self, prompt: Prompt, completions: list[Completion]) -> _Judged:
        prompts = self.parts.prompts
        group = Group(
            prompts.name(prompt.document),
            prompts.text(prompt.tokens, special=True),
            [prompts.text(completion.tokens) for completion in completions],
            [completion.tokens for completion in completions],
            prompts.columns(prompt.document),
        )
        rewards = self._rewards(group)
        texts = [prompts.text(completion.tokens, special=True) for completion in completions]
        return _Judged(prompt, completions, texts, rewards, self._rewards.total(rewards))

    def _advantages(self, judged: _Judged, deviation: float) -> list[float]:
        """deviation: of the whole step's rewards."""
        scale = self._objective.scale_rewards
        own = {"group": standard_deviation(judged.totals), "batch": deviation, "none": None}[scale]
        return group_advantages(judged.totals, own)

    def _measure(self, run: Training, judged: list[list[_Judged]]) -> tuple[dict[str, float], float, float]:
        """(what the step's columns say, the standard deviation of its rewards, units a token), over all ranks."""
        groups = [each for group in judged for each in group]
        completions = [completion for each in groups for completion in each.completions]
        totals = [total for each in groups for total in each.totals]
        names = list(self._rewards.weights)
        count, tokens, cut, alike, reward, *by_name = run.ranks.sum_all(
            [
                float(len(completions)),
                float(sum(len(completion.tokens) for completion in completions)),
                float(sum(self._is_truncated(completion) for completion in completions)),
                float(sum(len(each.totals) for each in groups if standard_deviation(each.totals) < ALIKE)),
                math.fsum(totals),
                *(math.fsum(value for each in groups for value in each.rewards[name]) for name in names),
            ]
        )
        some = max(1.0, count)
        squares = run.ranks.sum(math.fsum((total - reward / some) ** 2 for total in totals))
        deviation = math.sqrt(squares / max(1.0, count - 1))
        told = {
            "reward": reward / some,
            "reward_std": deviation,
            "reward_all_equal": alike / some,
            **{f"rewards/{name}": value / some for name, value in zip(names, by_name, strict=True)},
            "completion_length": tokens / some,
            "truncated": cut / some,
        }
        units = tokens if self._objective.loss == "dapo" else count
        return told, deviation, units / max(1.0, tokens)

    def _is_truncated(self, completion: Completion) -> bool:
        return completion.tokens[-1] not in self.parts.ends

    def _log(self, run: Training, judged: list[list[_Judged]], advantages: list[list[list[float]]]) -> None:
        """Write the rollouts of all ranks, in the order of their prompts in the step. Collective."""
        lines = [
            RolloutLine(
                step=run.step + 1,
                document=each.prompt.document,
                id=self.parts.prompts.name(each.prompt.document),
                member=member,
                completion=each.texts[member],
                rewards={name: values[member] for name, values in each.rewards.items()},
                reward=each.totals[member],
                advantage=values[member],
                tokens=len(completion.tokens),
                truncated=self._is_truncated(completion),
            ).to_json()
            for group, group_advantages in zip(judged, advantages, strict=True)
            for each, values in zip(group, group_advantages, strict=True)
            for member, completion in enumerate(each.completions)
        ]
        everyone = run.ranks.gather_texts(b"".join(lines).decode())
        if self.parts.log is not None:
            self.parts.log.append(everyone)


ALIKE = 1e-8
"""A group's standard deviation below which its rewards are all equal, and teach nothing."""


def seed_of(run: Training, document: int, member: int) -> int:
    """The seed of one completion: of the run's seed, the step under way, the prompt and its place in the group."""
    words = np.random.SeedSequence([run.recipe.seed, run.step + 1, document, member]).generate_state(2)
    return int(words[0]) << 31 ^ int(words[1])
