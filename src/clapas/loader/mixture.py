"""Which source a sample comes from, so that the mixture holds exactly at every moment of a run.

Random draws drift: after a million samples a source of weight 0.01 is off by a hundred. Tijdeman's chairman assignment
("The chairman assignment problem", Discrete Mathematics 32, 1980) keeps every prefix, for every source at once, within
one sample of its share. With rational weights its pattern repeats, so one period of it answers for any index in O(1).
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Mapping
from fractions import Fraction

from clapas.recipe.errors import UserError

LONGEST_PERIOD = 65_536
"""Samples: weights may have four decimals; a pattern of this length is made in 0.1 s and takes 0.4 MB."""


class Mixture:
    """Sources interleaved by weight.

    weights: source -> any positive number; only proportions matter. A float stands for the decimal that it prints as.
    shares: source -> its samples in one period, in the order of their names. period: their sum.
    Raises UserError where the period of the exact proportions would exceed 65,536 samples.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        exact = {name: Fraction(repr(weights[name])) for name in sorted(weights)}
        scale = math.lcm(*(weight.denominator for weight in exact.values()))
        whole = {name: int(weight * scale) for name, weight in exact.items()}
        divisor = math.gcd(*whole.values())
        self.shares = {name: count // divisor for name, count in whole.items()}
        self.period = sum(self.shares.values())
        if self.period > LONGEST_PERIOD:
            raise UserError(
                "mixture: these proportions repeat only after too many samples",
                where="data.mixture",
                found=f"a period of {self.period:,} samples",
                wanted=f"at most {LONGEST_PERIOD:,}",
                way_out="round the weights, for instance to whole per mille that sum to 1000",
            )
        self.sources = list(self.shares)
        self._pattern = array("H", chairmen(list(self.shares.values())))
        self._before = array("H", [0] * self.period)
        self._places: dict[str, array[int]] = {}
        counts = [0] * len(self.sources)
        for place, source in enumerate(self._pattern):
            self._before[place] = counts[source]
            counts[source] += 1

    def __call__(self, index: int) -> tuple[str, int]:
        """The source of sample `index` of the run, and how many samples that source has given before."""
        periods, place = divmod(index, self.period)
        source = self.sources[self._pattern[place]]
        return source, periods * self.shares[source] + self._before[place]

    def index_of(self, source: str, count: int) -> int:
        """The sample of the run that is a source's own sample number `count`, from 0: the inverse."""
        periods, rest = divmod(count, self.shares[source])
        if source not in self._places:
            number = self.sources.index(source)
            self._places[source] = array("H", (place for place, turn in enumerate(self._pattern) if turn == number))
        return periods * self.period + self._places[source][rest]

    def drawn(self, source: str, index: int) -> int:
        """How many of the run's first `index` samples come from a source."""
        periods, rest = divmod(index, self.period)
        number = self.sources.index(source)
        return periods * self.shares[source] + self._pattern[:rest].count(number)


def chairmen(shares: list[int]) -> list[int]:
    """One period of Tijdeman's assignment: for each turn the place in `shares` of the one whose turn it is.

    After t turns, one with share s of a period p has had within 1 - 1 / (2k - 2) of t s / p turns, k being their
    number. His rule is "earliest deadline first" on jobs with fixed windows: the turn number x (from 0) of a share s
    may be taken once t s / p - x reaches 1 / (2k - 2), and must be taken before x - t s / p does.
    """
    period, count = sum(shares), len(shares)
    if count == 1:
        return [0] * period
    slack = 2 * count - 2
    turns: list[int] = []
    taken = [0] * count
    waiting = [(_release(0, share, period, slack), source) for source, share in enumerate(shares)]
    heapq.heapify(waiting)
    ready: list[tuple[int, int]] = []
    for turn in range(1, period + 1):
        while waiting and waiting[0][0] <= turn:
            _, source = heapq.heappop(waiting)
            deadline = ((taken[source] + 1) * slack - 1) * period // (slack * shares[source])
            heapq.heappush(ready, (deadline, source))
        _, source = heapq.heappop(ready)
        turns.append(source)
        taken[source] += 1
        heapq.heappush(waiting, (_release(taken[source], shares[source], period, slack), source))
    return turns


def _release(taken: int, share: int, period: int, slack: int) -> int:
    """The first turn t with t share / period - taken >= 1 / slack."""
    return -(-(taken * slack + 1) * period // (slack * share))
