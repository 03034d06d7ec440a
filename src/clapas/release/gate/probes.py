"""Token sequences whose logits tell one model from another, wherever they differ: what the gate asks an export."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from clapas.release.gate.seen import HeldOutText, Probe

KEPT = 48
"""Places of a sequence whose logits are compared: a whole vocabulary each."""
LAST = 16
"""Of these, the last of the sequence."""
LONGEST = 4096
"""Most tokens of a probe. Beyond, positions are reached by leaving places free: attention costs their square."""
IDS = 256
"""Ids that the probe of rare ones reads at most."""


def probes_of(
    text: HeldOutText | None, vocabulary: int, longest: int, special: Iterable[int | None]
) -> tuple[Probe, ...]:
    """The sequences. text: of the run's own, where there is some; else ids are drawn, always the same ones.

    vocabulary: ids that the tokenizer has. longest: `max_position_embeddings`. special: of the tokenizer's ids.
    One runs to the last place of the model's longest text, or as far as LONGEST; one is spread over all of it, so that
    every distance between two tokens is met; one reads special, first and last ids, and some of all between.
    """
    stream = _stream(text, vocabulary)
    whole = min(longest, LONGEST)
    few = min(longest, 4 * KEPT)
    spread = torch.linspace(0, longest - 1, few, dtype=torch.float64).round().long().unique().tolist()
    ids = _rare(vocabulary, special)[:longest]
    return (
        _probe(_cut(stream, whole), range(whole)),
        _probe(_cut(stream[::-1], len(spread)), spread),
        _probe(ids, range(len(ids))),
    )


def _probe(ids: list[int], positions: Iterable[int]) -> Probe:
    length = len(ids)
    before = torch.linspace(0, length - 1, min(length, KEPT - LAST)).round().long().tolist()
    keep = sorted({*before, *range(max(0, length - LAST), length)})
    return Probe(tuple(ids), tuple(positions), tuple(keep))


def _stream(text: HeldOutText | None, vocabulary: int) -> list[int]:
    if text is not None and text.tokens.numel():
        return text.tokens[:LONGEST].tolist()
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(vocabulary, (LONGEST,), generator=drawn).tolist()


def _cut(stream: list[int], length: int) -> list[int]:
    """The first `length` of a stream that begins again where it ends."""
    return (stream * -(-length // len(stream)))[:length]


def _rare(vocabulary: int, special: Iterable[int | None]) -> list[int]:
    ends = [*range(16), *range(vocabulary - 64, vocabulary)]
    between = torch.linspace(0, vocabulary - 1, IDS - 96).long().tolist()
    known = [number for number in (*special, *ends, *between) if number is not None and 0 <= number < vocabulary]
    return list(dict.fromkeys(known))
