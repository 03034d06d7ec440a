"""A stream: the shards of one or more sources laid end to end, and cut into samples on a fixed grid.

Sample i predicts the tokens `i L + 1 .. i L + L` of the stream from those before each, L being the sequence length:
it reads L + 1 tokens, of which the last is the next sample's first. So every token but the stream's first is
predicted exactly once an epoch; only the last sample may be shorter. Documents are cut where the grid falls and none
is dropped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from clapas.recipe.errors import UserError


class Span(NamedTuple):
    """Tokens `[start, stop)` of a shard. shard: its place in the manifest's `shards`."""

    shard: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Stream:
    """Shards laid end to end.

    name: of the source, or "" for all sources together. shards: places in the manifest.
    ends: for each, the stream's tokens up to its end.
    """

    name: str
    shards: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, name: str, shards: Sequence[int], tokens: Sequence[int]) -> Stream:
        """A stream of shards with these numbers of tokens; shards without any are left out."""
        full = [(shard, count) for shard, count in zip(shards, tokens, strict=True) if count]
        return cls(name, tuple(shard for shard, _ in full), tuple(accumulate(count for _, count in full)))

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return self.ends[-1] if self.ends else 0

    def samples(self, sequence_length: int, key: str = "data.sequence_length") -> int:
        """Samples of one epoch. Raises UserError, about the recipe's `key`, where not even one is whole."""
        if self.tokens <= sequence_length:
            owner = f"source {self.name!r}" if self.name else "the split"
            if not self.tokens:
                raise UserError(f"{owner} has no tokens to read", way_out="build the corpus with text in it")
            raise UserError(
                f"{key} is longer than all documents of {owner} together",
                where=key,
                found=f"{sequence_length:,}",
                wanted=f"less than {self.tokens:,}, their tokens",
                way_out=f"{key}={max(1, min(256, self.tokens - 1))}, or more text",
            )
        return -(-(self.tokens - 1) // sequence_length)

    def spans(self, start: int, stop: int) -> list[Span]:
        """Where tokens `[start, stop)` of the stream lie; less where it ends before."""
        stop = min(stop, self.tokens)
        place = bisect_right(self.ends, start)
        found: list[Span] = []
        while start < stop:
            begin = self.ends[place - 1] if place else 0
            end = min(stop, self.ends[place])
            found.append(Span(self.shards[place], start - begin, end - begin))
            start, place = end, place + 1
        return found
