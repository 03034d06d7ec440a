"""What share of a stage's samples each source gets, where rules and not weights alone decide it.

Weights made of the tokens by a temperature, budgets in tokens, and caps on the epochs of a source are resolved here, on
the manifest and the recipe alone, into whole numbers: a `Mixture` that anybody can compute again. What a source may not
take under its cap is shared among the others by their weights, again and again until all fit ("water-filling"). Epochs
count over all stages of the run. A stage whose weights no rule touches keeps them as they are, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import groupby

from clapas.loader.mixture import LONGEST_PERIOD
from clapas.loader.packing import STREAM, Packing, samples_of
from clapas.recipe.errors import UserError
from clapas.recipe.phases import MixtureRules, Phase, Phases
from clapas_data.manifest import Manifest


@dataclass(frozen=True, slots=True)
class StageShares:
    """The mixture of one stage as resolved.

    stage: from 0. samples: of the stage. weights: what it reads by; None where all sources are one stream.
    asked: source -> its part of the samples by weights and budgets, before any cap.
    why: source -> what its part was decided by, where that was not its weight.
    """

    stage: int
    samples: int
    weights: Mapping[str, float] | None
    asked: dict[str, Fraction]
    why: dict[str, str]


def resolve(
    manifest: Manifest, split: str, phases: Phases, packing: Packing = STREAM
) -> tuple[Phases, tuple[StageShares, ...]]:
    """The phases with plain mixtures, and how these came about (nothing, where no phase has rules).

    Raises UserError where the rules cannot hold: unknown sources, budgets larger than the stage, caps that leave too
    little to read (with what the stage may have at most).
    """
    if not any(phase.rules for phase in phases):
        return phases, ()
    assert phases.total_steps is not None, "a run without end has no rules"
    sources = _Sources(manifest, split, packing)
    found: list[Phase] = []
    told: list[StageShares] = []
    stages = [list(own) for _, own in groupby(phases, key=lambda phase: phase.stage)]
    ends = [*(own[0].first_sample for own in stages[1:]), phases.samples_after(phases.total_steps)]
    for own, end in zip(stages, ends, strict=True):
        shares = _Stage(sources, own, end - own[0].first_sample).shares()
        told.append(shares)
        found += [replace(phase, mixture=shares.weights or phase.mixture, rules=None) for phase in own]
    return Phases(tuple(found), phases.total_steps), tuple(told)


class _Sources:
    """The sources of a split, and how often the stages so far have read them.

    tokens: of each, those removed since included, so that a removal changes no order. read: epochs of each.
    """

    def __init__(self, manifest: Manifest, split: str, packing: Packing) -> None:
        self.split, self.name = split, manifest.name
        self.weights = manifest.mixture(split)
        places = manifest.of_split(split)
        self._by_source: dict[str, list[int]] = {}
        for place in places:
            self._by_source.setdefault(manifest.shards[place].source, []).append(place)
        self.tokens = {
            name: sum(manifest.shards[place].tokens for place in own) for name, own in self._by_source.items()
        }
        self._streams = {name: samples_of(manifest, name, own, packing) for name, own in self._by_source.items()}
        self._all = samples_of(manifest, "", places, packing)
        self.read = dict.fromkeys(self.tokens, Fraction(0))

    def samples(self, name: str, length: int) -> int:
        """The samples of one epoch of a source."""
        return self._streams[name].samples(length)

    def add(self, shares: Mapping[str, Fraction] | None, samples: int, length: int) -> None:
        """Count the samples of a stage. shares: each source's part; None where all sources are one stream."""
        for name in self.tokens if shares is None else shares:
            epoch = self._all.samples(length) if shares is None else self.samples(name, length)
            self.read[name] += samples * (1 if shares is None else shares[name]) / Fraction(epoch)

    def refuse_unknown(self, names: Iterable[str], key: str) -> None:
        """Raise UserError for names that no source has."""
        if unknown := [name for name in names if name not in self.tokens]:
            what = f"no such source in split {self.split!r} of {self.name}"
            raise UserError(what, where=key, found=", ".join(unknown), wanted=", ".join(self.tokens))


class _Stage:
    """One stage's rules at work. All counts are of samples.

    phases: the stage's, more than one where its batch is ramped.
    """

    def __init__(self, sources: _Sources, phases: Sequence[Phase], samples: int) -> None:
        self.sources, self.phases, self.samples = sources, phases, samples
        self.phase = phase = phases[0]
        self.rules = phase.rules or MixtureRules()
        self.length = phase.sequence_length
        self.key = f"stages[{phase.stage}]" if phase.stage else "data"
        self.given = None if self.rules.temperature else phase.mixture or sources.weights
        sources.refuse_unknown(self.given or (), f"{self.key}.mixture")
        sources.refuse_unknown(self.rules.token_budgets, f"{phase.section}.token_budgets")
        sources.refuse_unknown(self.rules.max_epochs_by_source, f"{self.key}.max_epochs_by_source")

    def shares(self) -> StageShares:
        """The stage's mixture, which is counted among what the sources have given."""
        budgets = {name: max(1, round(tokens / self.length)) for name, tokens in self.rules.token_budgets.items()}
        weights = {name: weight for name, weight in self._weights().items() if name not in budgets}
        caps = {name: cap for name in (*budgets, *weights) if (cap := self._cap(name)) is not None}
        rest = self._rest(budgets, weights, caps)
        total = sum(weights.values())
        asked = {name: Fraction(count, self.samples) for name, count in budgets.items()}
        asked |= {name: weight / total * rest / self.samples for name, weight in weights.items()}
        filled, capped, left = water_fill(Fraction(rest), weights, caps)
        if left:
            raise self._used_up(caps, self.samples - math.ceil(left))
        why = {name: self._why(name) for name in capped} | dict.fromkeys(budgets, "token budget")
        if not capped and not budgets and not self.rules.temperature:
            plain = None if self.given is None else asked
            self.sources.add(plain, self.samples, self.length)
            return StageShares(self.phase.stage, self.samples, self.given, asked, {})
        period = min(self.samples, LONGEST_PERIOD) if capped or budgets else LONGEST_PERIOD  # else of any length alike
        parts = {name: Fraction(count) / self.samples for name, count in {**budgets, **filled}.items()}
        limits = {name: caps[name] * period // self.samples for name in parts if name in caps}
        whole = whole_shares(parts, limits, period)
        if sum(whole.values()) < period:  # what the shares' steps lose under the caps fits under none
            raise self._used_up(caps, sum(budgets.values()) + sum(caps[name] for name in weights))
        why |= {name: self._why_not(name, asked[name], caps) for name in asked if name not in whole}
        self.sources.add({n: Fraction(share, period) for n, share in whole.items()}, self.samples, self.length)
        return StageShares(self.phase.stage, self.samples, whole, asked, why)

    def _weights(self) -> dict[str, Fraction]:
        """Source -> weight: as given, or by a temperature, or each as large as it is."""
        if self.given is not None:
            return {name: Fraction(repr(weight)) for name, weight in self.given.items()}
        temperature = self.rules.temperature or 1
        return {name: tempered(tokens, temperature) for name, tokens in self.sources.tokens.items() if tokens}

    def _cap(self, name: str) -> int | None:
        """How many samples a source may still give, or None where nothing limits it."""
        epochs = self._max_epochs(name)
        if epochs is None:
            return None
        left = (Fraction(repr(epochs)) - self.sources.read[name]) * self.sources.samples(name, self.length)
        return max(0, math.floor(left))

    def _max_epochs(self, name: str) -> float | None:
        return self.rules.max_epochs_by_source.get(name, self.rules.max_epochs)

    def _why(self, name: str) -> str:
        return f"capped at {self._max_epochs(name):g} epochs"

    def _why_not(self, name: str, asked: Fraction, caps: Mapping[str, int]) -> str:
        """Why nothing is read of a source that has a weight."""
        if not asked:
            return "left out: the budgets leave nothing"
        if not caps.get(name, 1):
            return f"left out: at its cap of {self._max_epochs(name):g} epochs"
        return "left out: the smallest share that a mixture can have is more than it may give"

    def _rest(self, budgets: dict[str, int], weights: Mapping[str, Fraction], caps: Mapping[str, int]) -> int:
        """What the budgets leave for the weights; where there are none, the budgets are made to fill the stage."""
        for name, count in budgets.items():
            if count > caps.get(name, count):
                epochs = self.sources.read[name] + Fraction(count, self.sources.samples(name, self.length))
                raise UserError(
                    f"more of {name} than its cap allows",
                    where=f"{self.phase.section}.token_budgets",
                    found=f"{self.rules.token_budgets[name]:,} tokens, which make {float(epochs):.3g} epochs in all",
                    wanted=f"at most {self._max_epochs(name):g} epochs: {caps[name] * self.length:,} tokens",
                    way_out=f"a smaller budget, or max_epochs_by_source: {{{name}: {math.ceil(epochs)}}}",
                )
        rest = self.samples - sum(budgets.values())
        slack = self.phases[-1].global_batch_size + len(budgets)  # stages are rounded up to steps, budgets to samples
        if not weights and abs(rest) <= slack:
            largest = max(budgets, key=budgets.__getitem__)
            budgets[largest] += rest
            return 0
        if rest < 0 or (rest and not weights):
            all_tokens = sum(self.rules.token_budgets.values())
            what = (
                "the budgets are more than the stage has"
                if rest < 0
                else "the budgets leave a part of the stage to no source"
            )
            raise UserError(
                what,
                where=f"{self.phase.section}.token_budgets",
                found=f"{all_tokens:,} tokens in all, of a stage of {self.samples * self.length:,}",
                wanted="less than the stage has, and sources with weights that share the rest",
            )
        return rest

    def _used_up(self, caps: Mapping[str, int], most: int) -> UserError:
        """That all sources reach their caps before the stage's end. most: samples that they may give it."""
        if most > LONGEST_PERIOD:  # each source's share is rounded down: less than one of these is lost of each
            most = most * LONGEST_PERIOD // (LONGEST_PERIOD + len(caps))
        most = self._whole_steps(most)
        left_of = ", ".join(f"{name} {cap * self.length:,}" for name, cap in caps.items())
        name = "the run" if self.phase.section == "data" else f"stage {self.phase.stage + 1}"
        before = self.phase.first_token
        return UserError(
            f"every source reaches its cap before {name} ends",
            where=f"{self.key}.max_epochs",
            found=f"{self.samples * self.length:,} tokens; the caps leave {left_of}",
            wanted=f"at most {most * self.length:,} tokens here, {before + most * self.length:,} in the run until then",
            way_out="a shorter run, a higher max_epochs, or more text",
        )

    def _whole_steps(self, samples: int) -> int:
        """As many samples as whole steps of the stage have, not more than these."""
        for phase in reversed(self.phases):
            before = phase.first_sample - self.phase.first_sample
            if before <= samples:
                return before + (samples - before) // phase.global_batch_size * phase.global_batch_size
        return 0


def tempered(tokens: int, temperature: float) -> Fraction:
    """tokens ^ (1 / temperature), to 28 digits and so the same on every machine (Arivazhagan et al., 2019)."""
    with localcontext() as context:
        context.prec = 28
        return Fraction(Decimal(tokens) ** (1 / Decimal(repr(temperature))))


def water_fill(
    total: Fraction, weights: Mapping[str, Fraction], caps: Mapping[str, int]
) -> tuple[dict[str, Fraction], list[str], Fraction]:
    """(what each gets of a total by its weight, none more than its cap; who is capped; what nobody may take)."""
    filled: dict[str, Fraction] = {}
    open_, left = dict(weights), total
    while open_:
        scale = left / sum(open_.values())
        full = [name for name, weight in open_.items() if name in caps and weight * scale > caps[name]]
        if not full:
            return filled | {name: weight * scale for name, weight in open_.items()}, list(filled), Fraction(0)
        for name in full:
            filled[name] = Fraction(caps[name])
            left -= caps[name]
            del open_[name]
    return filled, list(filled), left


def whole_shares(parts: Mapping[str, Fraction], limits: Mapping[str, int], period: int) -> dict[str, int]:
    """Parts of one as whole shares of a period; a source whose share would be none is left out.

    Each is near its part (within one share, where no limit is in the way), none above its limit, and none of nothing
    that may have one. Their sum is less than the period where the limits' is.
    """
    wanted = {name: part * period for name, part in parts.items()}
    shares = {name: min(math.floor(part), limits.get(name, period)) for name, part in wanted.items()}
    room = [name for name in wanted if wanted[name] and shares[name] < limits.get(name, period)]
    shares |= {name: 1 for name in room if not shares[name]}
    left = period - sum(shares.values())
    for name in sorted(room, key=lambda name: shares[name] - wanted[name])[: max(0, left)]:
        shares[name] += shares[name] < limits.get(name, period)
    left = period - sum(shares.values())  # of rounding: less than a share a source
    room = {name: limits.get(name, period) - share for name, share in shares.items()}
    for name in sorted(shares, key=lambda name: (room[name] >= left, shares[name]), reverse=True):
        given = min(left, room[name])
        shares[name] += given
        left -= given
    return {name: share for name, share in shares.items() if share > 0}
