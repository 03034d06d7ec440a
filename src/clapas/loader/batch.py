"""Samples as tensors: tokens, what each predicts, and, with a document mask, which document each belongs to.

The target of a position is the next token of the stream. Every one counts, with two exceptions: the padding of a
stream's last sample and, with a document mask, a target that begins another document. B batch, S sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span
from clapas_data.manifest import Manifest

NO_TARGET = -100
"""What `torch.nn.functional.cross_entropy` ignores by default."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples that a model reads at once; all tensors are int64, of shape (B, S).

    targets: the token that each position predicts, or -100. target_count: those that are not -100.
    positions: each token's place in its document's part of the sample, or None without a document mask: 0 .. S - 1.
    document_ids: equal for tokens of one document, rising along a sample, or None without a document mask.
    """

    tokens: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor | None
    document_ids: torch.Tensor | None
    target_count: int

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        positions = None if self.positions is None else self.positions.to(device, non_blocking=True)
        document_ids = None if self.document_ids is None else self.document_ids.to(device, non_blocking=True)
        tokens = self.tokens.to(device, non_blocking=True)
        targets = self.targets.to(device, non_blocking=True)
        return Batch(tokens, targets, positions, document_ids, self.target_count)


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample's tokens, int64, each the target of the one before.

    starts: whether each token begins a document, or None where nobody asked.
    context: how many positions at its beginning predict nothing, being there for the others to see.
    """

    tokens: np.ndarray
    starts: np.ndarray | None = None
    context: int = 0


def pad_token(manifest: Manifest) -> int:
    """The token that fills up a short sample; it is never a target."""
    tokenizer = manifest.tokenizer
    if tokenizer is None:
        return 0
    return tokenizer.eos if tokenizer.pad is None else tokenizer.pad


def read_sample(pool: ShardPool, spans: Sequence[Span], document_starts: bool = False) -> Sample:
    """Read a sample. Raises UserError where a block that holds any of it was altered."""
    pieces = [pool[span.shard].read(span.start, span.stop) for span in spans]
    tokens = np.concatenate(pieces).astype(np.int64)
    if not document_starts:
        return Sample(tokens)
    starts = np.zeros(len(tokens), dtype=bool)
    at = 0
    for span in spans:
        starts[pool[span.shard].document_starts(span.start, span.stop) - span.start + at] = True
        at += span.stop - span.start
    return Sample(tokens, starts)


def collate(samples: Sequence[Sample], sequence_length: int, pad: int) -> Batch:
    """Samples of at most sequence_length + 1 tokens as one batch; shorter ones are filled up with `pad`."""
    rows = np.full((len(samples), sequence_length + 1), pad, dtype=np.int64)
    targets = np.full((len(samples), sequence_length), NO_TARGET, dtype=np.int64)
    for row, target, sample in zip(rows, targets, samples, strict=True):
        count = len(sample.tokens)
        row[:count] = sample.tokens
        target[sample.context : count - 1] = sample.tokens[sample.context + 1 :]
    positions = document_ids = None
    if samples[0].starts is not None:
        starts = _padded_starts(samples, sequence_length)
        targets[starts[:, 1:]] = NO_TARGET
        document_ids = np.cumsum(starts[:, :-1], axis=1)
        places = np.broadcast_to(np.arange(sequence_length), document_ids.shape)
        positions = places - np.maximum.accumulate(np.where(starts[:, :-1], places, 0), axis=1)
    return Batch(
        tokens=torch.from_numpy(rows)[:, :-1].contiguous(),
        targets=torch.from_numpy(targets),
        positions=None if positions is None else torch.from_numpy(positions),
        document_ids=None if document_ids is None else torch.from_numpy(document_ids),
        target_count=int((targets != NO_TARGET).sum()),
    )


def _padded_starts(samples: Sequence[Sample], sequence_length: int) -> np.ndarray:
    """Where documents begin, bool of shape (B, S + 1); padding counts as a document of its own."""
    starts = np.zeros((len(samples), sequence_length + 1), dtype=bool)
    for row, sample in zip(starts, samples, strict=True):
        count = len(sample.tokens)
        row[:count] = sample.starts
        row[count : count + 1] = True
    return starts
