"""Prompts with other prompts' answers: what KTO estimates the distance from the reference on.

Each document's prompt (what stands before its first learned token) is followed by the answer of the document before it
in its split, the first by the last one's, removed ones passed over: TRL's rotation, but of the split and not of a
micro-batch, so that the text is the same on any number of ranks and the reference of it is known beforehand. What does
not fit into a sample is cut from the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clapas.loader.batch import Batch, Sample, collate, pad_token, shortest_length
from clapas.loader.plan import without_removed
from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span
from clapas_data.manifest import Manifest


class Mismatched:
    """Mismatched documents of a folder of examples, one document an example.

    splits: those that are asked for. sequence_length: how many tokens a document predicts at most.
    """

    def __init__(self, manifest: Manifest, splits: Sequence[str], sequence_length: int) -> None:
        self._pool, self._pad, self._length = ShardPool(manifest), pad_token(manifest), sequence_length
        self._spans: dict[int, Span] = {}
        self._before: dict[int, int] = {}
        for split in splits:
            numbers: list[int] = []
            for place in manifest.of_split(split):
                tokens = manifest.shards[place].tokens
                starts = self._pool[place].document_starts(0, tokens)
                for number, (start, stop) in enumerate(zip(starts, [*starts[1:], tokens], strict=True)):
                    span = Span(place, int(start), int(stop))
                    if list(without_removed(manifest, [span])) == [span]:
                        numbers.append(self._pool.documents_before(place) + number)
                        self._spans[numbers[-1]] = span
            self._before |= dict(zip(numbers, [*numbers[-1:], *numbers[:-1]], strict=True))

    def batch(self, numbers: Sequence[int]) -> Batch:
        """These documents, in this order, packed one after another into samples."""
        samples: list[Sample] = []
        pieces: list[tuple[int, np.ndarray, np.ndarray]] = []
        room = self._length + 1
        for number in numbers:
            tokens, turns = self._read(number)
            if len(tokens) > room:
                samples.append(_sample(pieces))
                pieces, room = [], self._length + 1
            pieces.append((number, tokens, turns))
            room -= len(tokens)
        samples.append(_sample(pieces))
        return collate(samples, shortest_length(samples, self._length), self._pad)

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(tokens, turns) of a document's prompt and the answer of the one before it."""
        (prompt, no_turns), (answer, turns) = (
            self._parts(place, part) for part, place in enumerate((number, self._before[number]))
        )
        whole = np.concatenate([prompt, answer]), np.concatenate([no_turns, turns])
        return whole[0][: self._length + 1], whole[1][: self._length + 1]

    def _parts(self, number: int, part: int) -> tuple[np.ndarray, np.ndarray]:
        """A document's prompt (part 0) or answer (part 1): tokens and turns."""
        span = self._spans[number]
        tokens = self._pool[span.shard].read(span.start, span.stop).astype(np.int64)
        learned = self._pool.targets(span.shard)
        turns = np.ones(len(tokens), np.uint8) if learned is None else learned.read(span.start, span.stop)
        first = int(np.argmax(turns > 0)) if turns.any() else len(turns)
        return (tokens[:first], turns[:first]) if part == 0 else (tokens[first:], turns[first:])


def _sample(pieces: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> Sample:
    """One sample of several documents: (number, tokens, turns)."""
    starts = [np.arange(len(tokens)) == 0 for _, tokens, _ in pieces]
    none = np.zeros(0, np.int64)
    return Sample(
        np.concatenate([none, *(tokens for _, tokens, _ in pieces)]),
        np.concatenate([none.astype(bool), *starts]),
        documents=np.array([number for number, _, _ in pieces], np.int64),
        turns=np.concatenate([none.astype(np.uint8), *(turns for _, _, turns in pieces)]),
    )
