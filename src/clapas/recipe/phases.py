"""Which batch a step reads: the recipe's stages and its batch ramp as one closed form.

A run is a few phases, each with batches of one kind. They are computed once from the recipe; from then on the samples
of any step, or the tokens read until then, are a search among the phases and one multiplication.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe, StageConfig  # it alone knows of the layers above


@dataclass(frozen=True, slots=True)
class MixtureRules:
    """What decides a stage's mixture beside weights: `loader.shares` makes shares of it, on the data.

    temperature: weights are tokens ^ (1 / temperature). token_budgets: source -> tokens of the stage.
    max_epochs, max_epochs_by_source: how often any source, and those named, may have been read when the stage ends.
    """

    temperature: float | None = None
    token_budgets: Mapping[str, int] = field(default_factory=dict)
    max_epochs: float | None = None
    max_epochs_by_source: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phase:
    """Steps in a row whose batches are of one kind; a phase lasts until the next, the last one to the run's end.

    stage: the recipe's stage that it belongs to, from 0. first_step: from 1.
    first_sample, first_token: the samples and tokens that the run has read before it.
    global_batch_size: samples of `sequence_length` tokens in one step, over all ranks.
    micro_batch_size: samples that one rank holds at once; None: its whole share of the global batch.
    mixture: source -> weight, or None where all sources are one stream. rules: what else decides it; None for nothing.
    section: where the recipe speaks of this stage alone.
    """

    stage: int
    first_step: int
    first_sample: int
    first_token: int
    global_batch_size: int
    micro_batch_size: int | None
    sequence_length: int
    mixture: Mapping[str, float] | None = None
    rules: MixtureRules | None = None
    section: str = "data"

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one step reads, over all ranks."""
        return self.global_batch_size * self.sequence_length


class Phases:
    """A run's phases in order. total_steps: the run's length, or None for one without end."""

    def __init__(self, phases: tuple[Phase, ...], total_steps: int | None) -> None:
        self._phases, self.total_steps = phases, total_steps
        self._first_steps = [phase.first_step for phase in phases]

    @classmethod
    def constant(
        cls,
        global_batch_size: int,
        sequence_length: int,
        mixture: Mapping[str, float] | None = None,
        total_steps: int | None = None,
    ) -> Phases:
        """One phase: the same batch in every step."""
        return cls((Phase(0, 1, 0, 0, global_batch_size, None, sequence_length, mixture),), total_steps)

    def __iter__(self) -> Iterator[Phase]:
        return iter(self._phases)

    def __len__(self) -> int:
        return len(self._phases)

    def at(self, step: int) -> Phase:
        """The phase of a step (from 1). Raises IndexError for an earlier one."""
        if step < 1:
            raise IndexError(f"step {step}: steps count from 1")
        return self._phases[bisect_right(self._first_steps, step) - 1]

    def interval(self, step: int) -> range:
        """The indices of the samples that a step reads, over all ranks; they count through the run."""
        phase = self.at(step)
        first = phase.first_sample + (step - phase.first_step) * phase.global_batch_size
        return range(first, first + phase.global_batch_size)

    def samples_after(self, step: int) -> int:
        """The samples that the run has read after a step (0: before the first)."""
        return self.interval(step).stop if step else 0

    def tokens_after(self, step: int) -> int:
        """The training tokens that the run has read after a step (0: before the first)."""
        if not step:
            return 0
        phase = self.at(step)
        return phase.first_token + (step - phase.first_step + 1) * phase.tokens_per_step

    def steps_for_tokens(self, first_step: int, tokens: int) -> int:
        """How many steps from `first_step` on read at least `tokens` tokens."""
        end = self.tokens_after(first_step - 1) + tokens
        last = next((phase for phase in reversed(self._phases) if phase.first_token < end), self._phases[0])
        last_step = last.first_step - 1 + math.ceil((end - last.first_token) / last.tokens_per_step)
        return last_step - first_step + 1


def phases_of(recipe: Recipe) -> Phases:
    """The phases of a recipe: its stages, or its one, cut where the batch ramp steps."""
    found: list[Phase] = []
    step = sample = token = 0  # done so far
    for number, stage in enumerate(recipe.all_stages):
        steps_left, tokens_left = stage.steps, stage.tokens
        length = stage.sequence_length or recipe.data.sequence_length
        for until, batch in _batches(recipe, stage.global_batch_size, after=step):
            if steps_left is None:
                assert tokens_left is not None
                wanted = math.ceil(tokens_left / (batch * length))
            else:
                wanted = steps_left
            steps = wanted if until is None else min(wanted, until - step)
            micro = stage.micro_batch_size or recipe.train.micro_batch_size
            mixture, rules = _mixture(recipe, stage)
            section = "data" if recipe.stages is None else f"stages[{number}]"
            found.append(Phase(number, step + 1, sample, token, batch, micro, length, mixture, rules, section))
            step, sample, token = step + steps, sample + steps * batch, token + steps * batch * length
            if steps == wanted:
                break
            steps_left = None if steps_left is None else steps_left - steps
            tokens_left = None if tokens_left is None else tokens_left - steps * batch * length
    return Phases(tuple(found), step)


def _mixture(recipe: Recipe, stage: StageConfig) -> tuple[Mapping[str, float] | None, MixtureRules | None]:
    """The weights and the rules of a stage; its own mixture or temperature takes the place of both of the recipe's."""
    data = recipe.data
    own = stage if stage.mixture or stage.temperature else data
    rules = MixtureRules(
        own.temperature,
        stage.token_budgets or data.token_budgets or {},
        stage.max_epochs or data.max_epochs,
        stage.max_epochs_by_source or data.max_epochs_by_source or {},
    )
    return own.mixture, None if rules == MixtureRules() else rules


def _batches(recipe: Recipe, own: int | None, after: int) -> Iterator[tuple[int | None, int]]:
    """(until which step, global batch size) from the step after `after` on; the last has no end.

    own: the stage's own batch size, which no ramp changes.
    """
    if own is None:
        ramp = recipe.train.batch_ramp or {}
        yield from ((until, batch) for until, batch in sorted(ramp.items()) if until > after)
    yield None, own or recipe.train.global_batch_size
