"""How many tokens of each source a run has read: exactly, as its own order says, and summing to its ledger's tokens.

A sample counts for the source of its first token, with its whole sequence length, as the ledger counts it. Samples of
windows that were left out (after a loss spike) do not count: their step came again with others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from clapas.loader.plan import ALL_SOURCES, DataPlan, Stretch
from clapas.loader.stream import Stream

CHUNK = 1 << 20


def tokens_read(plan: DataPlan, after: int, step: int) -> dict[str, int]:
    """Source -> tokens that a run has read in the steps after `after`, up to `step`. Those that it did not are at 0."""
    read: Counter[str] = Counter()
    for stretch, begin, end in _kept(plan, plan.drawn.after(after), plan.drawn.after(step)):
        for name, first, last in _draws(stretch, begin, end):
            samples = {name: last - first} if name != ALL_SOURCES else _by_source(plan, stretch, first, last)
            for source, count in samples.items():
                read[source] += count * stretch.sequence_length
    return {source: read[source] for source in plan.sources}


def _kept(plan: DataPlan, start: int, end: int) -> Iterator[tuple[Stretch, int, int]]:
    """(stretch, first sample, sample after the last) of the samples [start, end) that were not left out."""
    left_out = plan.drawn.left_out
    borders = {start, end, *(stretch.first_sample for stretch in plan.stretches)}
    borders |= {border for window in left_out for border in window}
    inner = sorted(border for border in borders if start <= border <= end)
    for begin, stop in pairwise(inner):
        if not any(first <= begin < last for first, last in left_out):
            yield plan.stretch(begin), begin, stop


def _draws(stretch: Stretch, begin: int, end: int) -> Iterator[tuple[str, int, int]]:
    """(stream, its first draw, the draw after its last) among samples of a stretch."""
    before, after = stretch.drawn_until(begin), stretch.drawn_until(end)
    yield from ((name, before[name], after[name]) for name in before)


def _by_source(plan: DataPlan, stretch: Stretch, first: int, last: int) -> Counter[str]:
    """Samples by source, among the draws [first, last) of the one stream of all sources."""
    samples = stretch.samples[ALL_SOURCES]
    source_of = _source_of_cells(plan, stretch)
    counts = np.zeros(len(plan.sources), np.int64)
    if (whole := last // samples - -(-first // samples)) > 0:
        counts += whole * np.bincount(source_of, minlength=len(counts))
    for epoch, begin, end in _part_epochs(first, last, samples):
        order = plan.order(stretch, ALL_SOURCES, epoch)
        for start in range(begin, end, CHUNK):
            cells = order.many(start, min(start + CHUNK, end))
            counts += np.bincount(source_of[cells], minlength=len(counts))
    return Counter(dict(zip(plan.sources, counts.tolist(), strict=True)))


def _part_epochs(first: int, last: int, samples: int) -> Iterator[tuple[int, int, int]]:
    """(epoch, first place, place after the last) of the epochs that draws [first, last) read a part of."""
    epoch, begin = divmod(first, samples)
    last_epoch, end = divmod(last, samples)
    if epoch == last_epoch:
        yield epoch, begin, end
        return
    if begin:
        yield epoch, begin, samples
    if end:
        yield last_epoch, 0, end


def _source_of_cells(plan: DataPlan, stretch: Stretch) -> np.ndarray:
    """The number of the source that each sample of an epoch begins in."""
    stream, length = stretch.streams[ALL_SOURCES], stretch.sequence_length
    ids = {name: number for number, name in enumerate(plan.sources)}
    of_shard = np.array([ids.get(shard.source, 0) for shard in plan.manifest.shards])
    samples = stretch.samples[ALL_SOURCES]
    if isinstance(stream, Stream):
        part = np.searchsorted(np.array(stream.ends), np.arange(samples) * length, side="right")
        return of_shard[np.array(stream.shards)][part]
    return of_shard[[stream.sample(place, length)[0].shard for place in range(samples)]]
