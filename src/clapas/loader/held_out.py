"""Held-out examples, each read once: what `loader.windows` is for running text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from clapas.loader.batch import Batch, Sample, collate, pad_token, read_examples
from clapas.loader.packing import Packed, Packing
from clapas.loader.plan import without_removed
from clapas.loader.shard_pool import ShardPool
from clapas_data.manifest import Manifest


class HeldOut(Protocol):
    """What is scored on documents that nobody trains on. text_bytes: None where bits per byte have no meaning."""

    sequence_length: int
    text_bytes: int | None
    token_count: int

    def batches_for(self, tokens: int | None) -> int:
        """The batches of one rank that score about so many tokens over all ranks; None: all."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class HeldOutExamples:
    """The examples of a split that one rank reads, in batches of packed samples.

    Every rank has the same number of batches; the last may hold no target. token_count: tokens of the split.
    """

    text_bytes: int | None = None

    def __init__(
        self,
        manifest: Manifest,
        packing: Packing,
        *,
        sequence_length: int,
        batch_size: int,
        split: str = "heldout",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.manifest, self.sequence_length = manifest, sequence_length
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self._examples = Packed(manifest, "", manifest.of_split(split), packing)
        self._samples = self._examples.samples(sequence_length, f"data.sequence_length, for evaluation.split {split}")
        self.token_count = self._examples.tokens

    @property
    def left_out(self) -> dict[str, int]:
        """How many examples are not read whole: `dropped` or `truncated`, being longer than a sample."""
        counts = self._examples.counts(self.sequence_length)
        return {name: counts[name] for name in ("dropped", "truncated")}

    def batches_for(self, tokens: int | None) -> int:
        """The batches of one rank that read about so many tokens over all ranks; None: all."""
        if tokens is None:
            return len(self)
        return min(len(self), -(-tokens // (self.sequence_length * self.batch_size * self.world)))

    def __len__(self) -> int:
        """Batches of one rank."""
        return -(-self._samples // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[Batch]:
        pool, pad = ShardPool(self.manifest), pad_token(self.manifest)
        for turn in range(len(self)):
            first = (turn * self.world + self.rank) * self.batch_size
            samples = [self._sample(pool, place) for place in range(first, first + self.batch_size)]
            yield collate(samples, self.sequence_length, pad)

    def _sample(self, pool: ShardPool, place: int) -> Sample:
        """A sample by number; past the last, one without tokens."""
        spans = self._examples.sample(place, self.sequence_length) if place < self._samples else []
        whole = [span for span in spans if list(without_removed(self.manifest, [span])) == [span]]
        return read_examples(pool, whole)
