"""Held-out text as windows in which every token is predicted exactly once, for bits per byte.

A window of S positions moves on by `stride`: each but the first predicts only its last `stride` tokens and sees at
least S - stride tokens before any of them. The windows run over the split as it lies (without what was removed of it),
across documents, whatever mask the run trains with, and EOS stands before its first token: so no token goes
unpredicted, and dividing by the bytes of the whole text is honest.

    bits per byte = summed cross entropy of all targets / ln 2 / text_bytes
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clapas.loader.batch import Batch, Sample, collate, pad_token, read_sample
from clapas.loader.plan import without_removed
from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span, Stream
from clapas.recipe.errors import UserError
from clapas_data.manifest import Manifest


class Windows:
    """The windows of a split that one rank reads, in batches.

    sequence_length: positions of a window. stride: new tokens in each, from 1 to sequence_length.
    sources: the names of the split's sources; a window counts as the source of its first token.
    text_bytes: UTF-8 bytes of the split's text, EOS excluded; None for bare shards, which do not know.
    token_count: targets of all windows over all ranks: every token of the split, once (without the very first where the
        manifest knows of no EOS).
    Every rank has the same number of batches (ZeRO-3 gathers weights in each); the last may hold no target.
    Raises UserError where the split or the stride is wrong; while iterating, where data was altered.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        sequence_length: int,
        stride: int,
        batch_size: int,
        split: str = "heldout",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not 1 <= stride <= sequence_length:
            wanted = f"from 1 to the sequence length, {sequence_length}"
            raise UserError("stride of the evaluation windows", found=stride, wanted=wanted)
        self.manifest, self.sequence_length, self.stride = manifest, sequence_length, stride
        self.batch_size, self.rank, self.world = batch_size, rank, world
        places = manifest.of_split(split)
        shards = [Span(place, 0, manifest.shards[place].tokens) for place in places]
        self._stream = Stream.of_spans(split, without_removed(manifest, shards))
        self.sources = list(dict.fromkeys(manifest.shards[place].source for place in places))
        self._lead_in = [] if manifest.tokenizer is None else [manifest.tokenizer.eos]
        self.text_bytes = manifest.text_bytes(split)
        self.token_count = max(0, self._stream.tokens + len(self._lead_in) - 1)

    @property
    def window_count(self) -> int:
        """Windows over all ranks."""
        return 1 + -(-max(0, self.token_count - self.sequence_length) // self.stride)

    def batches_for(self, tokens: int | None) -> int:
        """The batches of one rank that score about so many tokens over all ranks; None: all."""
        if tokens is None:
            return len(self)
        return min(len(self), -(-tokens // (self.stride * self.batch_size * self.world)))

    def __len__(self) -> int:
        """Batches of one rank."""
        return -(-self.window_count // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[Batch]:
        return (batch for _, batch in self.numbered())

    def numbered(self) -> Iterator[tuple[range, Batch]]:
        """This rank's batches, each with the numbers of its windows; those past the last have no target."""
        pool = ShardPool(self.manifest)
        pad = pad_token(self.manifest)
        for turn in range(len(self)):
            first = (turn * self.world + self.rank) * self.batch_size
            numbers = range(first, first + self.batch_size)
            yield numbers, collate([self._window(pool, number, pad) for number in numbers], self.sequence_length, pad)

    def targets_of(self, number: int) -> tuple[int, int]:
        """[first, last) of the split's tokens, as they lie, that a window predicts."""
        if number >= self.window_count:
            return 0, 0
        shift = 1 - len(self._lead_in)
        start = number * self.stride
        context = self.sequence_length - self.stride if number else 0
        return start + context + shift, min(start + self.sequence_length, self.token_count) + shift

    def _window(self, pool: ShardPool, number: int, pad: int) -> Sample:
        """A window by number; past the last, one without targets."""
        if number >= self.window_count:
            return Sample(np.array([pad]))
        start = number * self.stride
        stop = start + self.sequence_length + 1
        shift = len(self._lead_in)  # the split's token i is token i + shift of what the windows run over
        spans = self._stream.spans(max(0, start - shift), stop - shift)
        tokens = np.array([], np.int64) if not spans else read_sample(pool, spans).tokens
        source = self.sources.index(self.manifest.shards[spans[0].shard].source) if spans else 0
        if number == 0:
            return Sample(np.concatenate([np.array(self._lead_in, np.int64), tokens]), source=source)
        return Sample(tokens, context=self.sequence_length - self.stride, source=source)
