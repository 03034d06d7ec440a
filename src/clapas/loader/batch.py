"""Samples as tensors: tokens, what each predicts, and, with a document mask, which document each belongs to.

The target of a position is the next token of the stream. Every one counts, with two exceptions: the padding of a
stream's last sample and, with a document mask, a target that begins another document. B batch, S sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch

from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span
from clapas_data.manifest import Manifest
from clapas_kernels.attention import document_starts

NO_TARGET = -100
"""What `torch.nn.functional.cross_entropy` ignores by default."""
LENGTH_STEP = 64
"""Samples that are not packed are as long as the longest of their batch, rounded up to this: few shapes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples that a model reads at once; all tensors are int64, of shape (B, S) where nothing else is said.

    targets: the token that each position predicts, or -100. target_count: those that are not -100.
    positions: each token's place in its document's part of the sample, or None without a document mask: 0 .. S - 1.
    document_ids: equal for tokens of one document, rising along a sample, or None without a document mask.
    document_starts: of shape (documents + 1,), int32, where each begins among the B S tokens, padded with B S (see
    `clapas_kernels.attention`); also of the whole samples. None without a document mask.
    source_ids: of shape (B,), where each sample is from: a place in the `sources` of what made the batch.
    target_counts_B: of shape (B,), the target_count of each sample.

    Of whole examples also (else None):
    documents: of shape (N,), the number among all of the manifest's documents of each document of the batch, in order.
    segments: which of these each position belongs to, from 0 to N - 1; -1 for padding.
    turns: which of the assistant's turns each target belongs to, from 1; 0 where there is no target.
    """

    tokens: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor | None
    document_ids: torch.Tensor | None
    document_starts: torch.Tensor | None
    target_count: int
    source_ids: torch.Tensor
    target_counts_B: torch.Tensor
    documents: torch.Tensor | None = None
    segments: torch.Tensor | None = None
    turns: torch.Tensor | None = None

    @property
    def held(self) -> int:
        """Positions that hold a token: of whole examples, all but the padding."""
        return self.tokens.numel() if self.segments is None else int((self.segments.numpy() >= 0).sum())

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device."""
        return replace(self, **{name: tensor.to(device, non_blocking=True) for name, tensor in self._tensors()})

    def slice(self, start: int, stop: int) -> Batch:
        """Positions `[start, stop)` of every sample, for ranks that share a sequence; its positions are explicit.

        The document ids stay those of the whole sample: attention looks at all of it.
        """
        positions = self.positions
        if positions is None:
            length = self.tokens.shape[1]
            positions = torch.arange(length, device=self.tokens.device).expand_as(self.tokens)
        own = {name: tensor for name in ("segments", "turns") if (tensor := getattr(self, name)) is not None}
        targets = self.targets[:, start:stop].contiguous()
        counts = (targets != NO_TARGET).sum(1)
        return replace(
            self,
            tokens=self.tokens[:, start:stop].contiguous(),
            targets=targets,
            positions=positions[:, start:stop].contiguous(),
            target_count=int(counts.sum()),
            target_counts_B=counts,
            **{name: tensor[:, start:stop].contiguous() for name, tensor in own.items()},
        )

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        for field in fields(self):
            if torch.is_tensor(value := getattr(self, field.name)):
                yield field.name, value


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample's tokens, int64, each the target of the one before.

    starts: whether each token begins a document, or None where nobody asked.
    context: how many positions at its beginning predict nothing, being there for the others to see.
    source: where it is from: a place among the names of the sources.
    documents: of whole examples, the number of each of its documents among all of the manifest's.
    turns: of examples of which a part is learned, the assistant's turn of each token, 0 for none (uint8).
    """

    tokens: np.ndarray
    starts: np.ndarray | None = None
    context: int = 0
    source: int = 0
    documents: np.ndarray | None = None
    turns: np.ndarray | None = None


def pad_token(manifest: Manifest) -> int:
    """The token that fills up a short sample; it is never a target."""
    tokenizer = manifest.tokenizer
    if tokenizer is None:
        return 0
    return tokenizer.eos if tokenizer.pad is None else tokenizer.pad


def read_sample(pool: ShardPool, spans: Sequence[Span], with_starts: bool = False, source: int = 0) -> Sample:
    """Read a sample. Raises UserError where a block that holds any of it was altered."""
    pieces = [pool[span.shard].read(span.start, span.stop) for span in spans]
    tokens = np.concatenate(pieces).astype(np.int64) if pieces else np.zeros(0, np.int64)
    if not with_starts:
        return Sample(tokens, source=source)
    starts = np.zeros(len(tokens), dtype=bool)
    at = 0
    for span in spans:
        starts[pool[span.shard].document_starts(span.start, span.stop) - span.start + at] = True
        at += span.stop - span.start
    return Sample(tokens, starts, source=source)


def read_examples(pool: ShardPool, spans: Sequence[Span], source: int = 0) -> Sample:
    """Read a sample of whole examples, one a span."""
    sample = read_sample(pool, spans, with_starts=True, source=source)
    assert sample.starts is not None
    documents, turns, at = [np.zeros(0, np.int64)], [np.zeros(0, np.uint8)], 0
    for span in spans:
        size = span.stop - span.start
        first = pool.documents_before(span.shard) + pool[span.shard].document_at(span.start)
        documents.append(first + np.arange(int(sample.starts[at : at + size].sum())))
        learned = pool.targets(span.shard)
        turns.append(np.ones(size, np.uint8) if learned is None else learned.read(span.start, span.stop))
        at += size
    return replace(sample, documents=np.concatenate(documents), turns=np.concatenate(turns))


def shortest_length(samples: Sequence[Sample], sequence_length: int) -> int:
    """The positions that these samples need, so that all ranks that share them get equally many."""
    longest = max(len(sample.tokens) for sample in samples) - 1
    return min(sequence_length, max(1, -(-longest // LENGTH_STEP)) * LENGTH_STEP)


def collate(samples: Sequence[Sample], sequence_length: int, pad: int) -> Batch:
    """Samples of at most sequence_length + 1 tokens as one batch; shorter ones are filled up with `pad`."""
    rows = np.full((len(samples), sequence_length + 1), pad, dtype=np.int64)
    targets = np.full((len(samples), sequence_length), NO_TARGET, dtype=np.int64)
    for row, target, sample in zip(rows, targets, samples, strict=True):
        count = len(sample.tokens)
        row[:count] = sample.tokens
        if count:  # none is left of a sample whose documents were all removed
            target[sample.context : count - 1] = sample.tokens[sample.context + 1 :]
    turns = None if samples[0].turns is None else _padded_turns(samples, sequence_length)
    if turns is not None:
        targets[turns == 0] = NO_TARGET
    positions = document_ids = None
    if samples[0].starts is not None:
        starts = _padded_starts(samples, sequence_length)
        targets[starts[:, 1:]] = NO_TARGET
        document_ids = np.cumsum(starts[:, :-1], axis=1)
        places = np.broadcast_to(np.arange(sequence_length), document_ids.shape)
        positions = places - np.maximum.accumulate(np.where(starts[:, :-1], places, 0), axis=1)
    if turns is not None:
        turns[targets == NO_TARGET] = 0
    counts = (targets != NO_TARGET).sum(axis=1)
    ids_BS = None if document_ids is None else torch.from_numpy(document_ids)
    return Batch(
        tokens=torch.from_numpy(rows)[:, :-1].contiguous(),
        targets=torch.from_numpy(targets),
        positions=None if positions is None else torch.from_numpy(positions),
        document_ids=ids_BS,
        document_starts=None if ids_BS is None else document_starts(ids_BS),
        target_count=int(counts.sum()),
        source_ids=torch.tensor([sample.source for sample in samples]),
        target_counts_B=torch.from_numpy(counts),
        turns=None if turns is None else torch.from_numpy(turns),
        **_documents(samples, document_ids),
    )


def _documents(samples: Sequence[Sample], document_ids: np.ndarray | None) -> dict[str, torch.Tensor]:
    """A batch's `documents` and `segments`, where its samples know of them. document_ids: (B, S), from 1."""
    if document_ids is None or any(sample.documents is None for sample in samples):
        return {}
    held = [sample.documents for sample in samples if sample.documents is not None]
    before = np.cumsum([0, *map(len, held[:-1])])
    padded = document_ids > np.array([len(documents) for documents in held])[:, None]
    segments = np.where(padded, -1, document_ids - 1 + before[:, None])
    return {"documents": torch.from_numpy(np.concatenate(held)), "segments": torch.from_numpy(segments)}


def _padded_turns(samples: Sequence[Sample], sequence_length: int) -> np.ndarray:
    """The turn of what each position predicts, int64 of shape (B, S)."""
    turns = np.zeros((len(samples), sequence_length), dtype=np.int64)
    for row, sample in zip(turns, samples, strict=True):
        if sample.turns is not None and len(sample.tokens):
            row[: len(sample.tokens) - 1] = sample.turns[1:]
    return turns


def _padded_starts(samples: Sequence[Sample], sequence_length: int) -> np.ndarray:
    """Where documents begin, bool of shape (B, S + 1); padding counts as a document of its own."""
    starts = np.zeros((len(samples), sequence_length + 1), dtype=bool)
    for row, sample in zip(starts, samples, strict=True):
        count = len(sample.tokens)
        row[:count] = sample.starts
        row[count : count + 1] = True
    return starts
