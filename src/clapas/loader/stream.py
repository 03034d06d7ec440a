"""A stream: the shards of one or more sources laid end to end, and cut into samples on a fixed grid.

Sample i predicts the tokens `i L + 1 .. i L + L` of the stream from those before each, L being the sequence length:
it reads L + 1 tokens, of which the last is the next sample's first. So every token but the stream's first is
predicted exactly once an epoch; only the last sample may be shorter. Documents are cut where the grid falls and none
is dropped. Documents that were removed later leave holes, and the grid where it was (see `DataPlan.spans`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
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

    name: of the source, or "" for all sources together. shards: places in the manifest, rising.
    ends: for each, the stream's tokens up to its end. firsts: for each, the token of the shard that it begins with.
    """

    name: str
    shards: tuple[int, ...]
    ends: tuple[int, ...]
    firsts: tuple[int, ...]

    @classmethod
    def of(cls, name: str, shards: Sequence[int], tokens: Sequence[int]) -> Stream:
        """A stream of shards with these numbers of tokens; shards without any are left out."""
        return cls.of_spans(name, [Span(shard, 0, count) for shard, count in zip(shards, tokens, strict=True)])

    @classmethod
    def of_spans(cls, name: str, spans: Iterable[Span]) -> Stream:
        """A stream of parts of shards; empty ones are left out."""
        full = [span for span in spans if span.stop > span.start]
        ends = tuple(accumulate(span.stop - span.start for span in full))
        return cls(name, tuple(span.shard for span in full), ends, tuple(span.start for span in full))

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

    def sample(self, place: int, sequence_length: int) -> list[Span]:
        """What a sample of the grid reads."""
        start = place * sequence_length
        return self.spans(start, start + sequence_length + 1)

    def cells(self, span: Span, sequence_length: int) -> range:
        """The samples of the grid that hold any token of a part of a shard: `sample`'s inverse."""
        start = self.place_of(span.shard, span.start)
        if start is None:
            return range(0)
        last = start + span.stop - span.start - 1
        samples = self.samples(sequence_length)
        return range(max(0, start - 1) // sequence_length, min(last // sequence_length, samples - 1) + 1)

    def place_of(self, shard: int, token: int) -> int | None:
        """Where a token of a shard stands in the stream; None where the stream does not hold it."""
        for place in range(bisect_left(self.shards, shard), bisect_right(self.shards, shard)):
            begin = self.ends[place - 1] if place else 0
            at = begin + token - self.firsts[place]
            if begin <= at < self.ends[place]:
                return at
        return None

    def spans(self, start: int, stop: int) -> list[Span]:
        """Where tokens `[start, stop)` of the stream lie; less where it ends before."""
        stop = min(stop, self.tokens)
        place = bisect_right(self.ends, start)
        found: list[Span] = []
        while start < stop:
            begin = self.ends[place - 1] if place else 0
            end = min(stop, self.ends[place])
            shift = self.firsts[place] - begin
            found.append(Span(self.shards[place], start + shift, end + shift))
            start, place = end, place + 1
        return found
