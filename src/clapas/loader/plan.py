"""The data plan: `(its hash, sample index) -> token spans`, in O(1) memory and time whatever the size of the corpus.

Sample indices count through the run, over epochs, ranks, steps and stages alike: index 0 is the first sample of step 1.
Nothing here depends on the number of ranks. To go on, a resume needs the index, and which samples were left out.

Where the mixture or the sequence length changes, another stretch of the order begins. Each source counts how often it
was drawn, and goes on counting in the next stretch: nothing is read twice before all of it was read. That count belongs
to one sequence length, for another cuts the text into other samples: each length has an order of its own, with a key of
its own, begun at its beginning and gone on with where the length comes back. Knows no torch, and reads no token.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from clapas.loader.drawn import Drawn, Window
from clapas.loader.mixture import Mixture
from clapas.loader.order import ORDER_VERSION, Permutation, epoch_key
from clapas.loader.packing import STREAM, Packing, Samples, samples_of
from clapas.loader.shares import resolve
from clapas.loader.stream import Span
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash
from clapas.recipe.phases import Phase, Phases
from clapas_data.manifest import MANIFEST, Manifest, open_manifest

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe

ALL_SOURCES = ""
"""The name of the one stream that there is without a mixture."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples in a row of one mixture and one sequence length.

    first_sample: its first sample's index in the run. mixture: None where all sources are one stream.
    streams: by source. samples: of one epoch of each. drawn: of each, how many the stretches before have drawn.
    """

    first_sample: int
    sequence_length: int
    mixture: Mixture | None
    streams: dict[str, Samples]
    samples: dict[str, int]
    drawn: dict[str, int]

    def draw(self, index: int) -> tuple[str, int]:
        """The stream of a sample of the run, and how many samples that stream has given before."""
        place = index - self.first_sample
        name, count = self.mixture(place) if self.mixture else (ALL_SOURCES, place)
        return name, self.drawn[name] + count

    def drawn_until(self, index: int) -> dict[str, int]:
        """How many samples each stream has given before a sample of the run."""
        place = index - self.first_sample
        if self.mixture is None:
            return {ALL_SOURCES: self.drawn[ALL_SOURCES] + place}
        return {name: self.drawn[name] + self.mixture.drawn(name, place) for name in self.streams}


class DataPlan:
    """What every sample index of a run reads.

    manifest: the corpus. phases: the batch, sequence length and mixture of each step. seed: the run's.
    shares: how the mixtures came about, where rules decided them (see `loader.shares`); by stage.
    document_mask: whether a token sees its own document only. split: the documents to read.
    packing: how documents are cut into samples (see `loader.packing`).
    left_out: windows of steps whose samples were drawn in vain (see `loader.drawn`): their data are not read again.
    stretches: the parts of the order, one where neither mixture nor sequence length change.
    sources: the names of the split's sources. Raises UserError for a mixture of unknown sources or a sequence length
    longer than the text.
    """

    def __init__(
        self,
        manifest: Manifest,
        phases: Phases,
        *,
        seed: int,
        document_mask: bool = False,
        split: str = "train",
        packing: Packing = STREAM,
        left_out: Sequence[Window] = (),
    ) -> None:
        packing.check(manifest)
        self.manifest, self.seed, self.packing = manifest, seed, packing
        self.phases, self.shares = resolve(manifest, split, phases, packing)
        self.document_mask, self.split, self.left_out = document_mask, split, tuple(left_out)
        self.drawn = Drawn(self.phases, left_out)
        self.stretches = _stretches(manifest, split, self.drawn.phases, packing)
        self.sources = list(dict.fromkeys(manifest.shards[place].source for place in manifest.of_split(split)))
        self._source_ids = {name: number for number, name in enumerate(self.sources)}
        self._first_samples = [stretch.first_sample for stretch in self.stretches]
        self._permutation = lru_cache(maxsize=2 * sum(len(s.streams) for s in self.stretches))(_epoch_permutation)

    @classmethod
    def of_recipe(cls, recipe: Recipe, manifest: Manifest | None = None) -> DataPlan:
        """The plan of a recipe on its own data, or on a manifest of them that is open already."""
        manifest = manifest or open_manifest(recipe.data.path)
        packing = Packing(recipe.data.packing, recipe.data.too_long)
        mask = recipe.data.document_mask
        return cls(manifest, recipe.phases, seed=recipe.seed, document_mask=mask, packing=packing)

    def leaving_out(self, windows: Sequence[Window]) -> DataPlan:
        """The same plan, with these windows left out and no others."""
        if tuple(windows) == self.left_out:
            return self
        plan = DataPlan(
            self.manifest,
            self.phases,
            seed=self.seed,
            document_mask=self.document_mask,
            split=self.split,
            packing=self.packing,
            left_out=windows,
        )
        plan.shares = self.shares
        return plan

    @property
    def hash(self) -> str:
        """SHA-256, in hex, of all that decides the order: no path, no batch size, no number of ranks, no length.

        Nor what was left out: the run is the same.
        """
        stretches = self.leaving_out(()).stretches
        first, *others = (_facts(stretch) for stretch in stretches)
        later = [
            {"first_sample": stretch.first_sample, **facts}
            for stretch, facts in zip(stretches[1:], others, strict=True)
        ]
        return content_hash(
            {
                "order": ORDER_VERSION,
                "manifest": self.manifest.hash,
                "split": self.split,
                "document_mask": self.document_mask,
                "seed": self.seed,
                **self.packing.facts,
                **first,
                **({"later": later} if later else {}),
            }
        )

    def interval(self, step: int) -> range:
        """The sample indices that a step (from 1) reads, over all ranks."""
        return self.drawn.interval(step)

    def rank_interval(self, step: int, rank: int, world: int) -> range:
        """The part of a step's interval that one of `world` ranks reads. Raises UserError where it cannot be shared."""
        interval = self.interval(step)
        share, left = divmod(len(interval), world)
        if left:
            raise UserError(
                "this number of ranks does not divide the global batch",
                where="train.global_batch_size",
                found=f"{len(interval)} samples on {world} ranks",
                wanted=f"a multiple of {world}",
            )
        return interval[rank * share : (rank + 1) * share]

    def stretch(self, index: int) -> Stretch:
        """The stretch that a sample belongs to."""
        return self.stretches[bisect_right(self._first_samples, index) - 1]

    def spans(self, index: int) -> list[Span]:
        """Where a sample's tokens lie: its sequence length + 1 of them, less only for the last sample of a stream.

        Removed documents are cut out of it: it is shorter for them, or empty, and no other sample moves. What follows
        a hole is predicted from what stands before it; at the beginning of a sample nothing does.
        """
        stretch = self.stretch(index)
        name, draw = stretch.draw(index)
        samples, length = stretch.samples[name], stretch.sequence_length
        epoch, place = divmod(draw, samples)
        cell = self.order(stretch, name, epoch)(place)
        spans = stretch.streams[name].sample(cell, length)
        if self.manifest.removed is None:
            return spans
        if self.packing.is_packed:  # an example is whole or not there
            return [span for span in spans if list(without_removed(self.manifest, [span])) == [span]]
        return list(without_removed(self.manifest, spans))

    def order(self, stretch: Stretch, stream: str, epoch: int) -> Permutation:
        """The order of the samples of a stream in one of its epochs."""
        name = self._order_name(stream, stretch.sequence_length)
        return self._permutation(self.seed, name, stretch.samples[stream], epoch)

    def samples_with(self, span: Span, end: int) -> list[int]:
        """The samples of the run, of its first `end`, that hold any token of a part of a shard: `spans`' inverse.

        As long as it takes to find one sample, for each epoch and each sample of an epoch that holds any of it.
        """
        name = self.manifest.shards[span.shard].source
        found: list[int] = []
        borders = [*self._first_samples[1:], None]
        for stretch, border in zip(self.stretches, borders, strict=True):
            stop = end if border is None else min(end, border)
            stream = name if stretch.mixture else ALL_SOURCES
            if stop > stretch.first_sample and stream in stretch.streams:
                found += self._samples_of_stretch(stretch, stream, span, stop)
        return sorted(found)

    def _samples_of_stretch(self, stretch: Stretch, name: str, span: Span, stop: int) -> Iterator[int]:
        """The same within a stretch, up to the sample `stop` of the run."""
        samples, length = stretch.samples[name], stretch.sequence_length
        cells = stretch.streams[name].cells(span, length)
        if not cells:
            return
        begin, end = stretch.drawn[name], stretch.drawn_until(stop)[name]
        for epoch in range(begin // samples, -(-end // samples)):
            order = self.order(stretch, name, epoch)
            for cell in cells:
                draw = epoch * samples + order.place_of(cell)
                if begin <= draw < end:
                    count = draw - begin
                    yield stretch.first_sample + (
                        stretch.mixture.index_of(name, count) if stretch.mixture is not None else count
                    )

    def source_id(self, spans: list[Span]) -> int:
        """The place in `sources` of the source that a sample's first token is from; 0 where all of it was removed."""
        if not spans:
            return 0
        return self._source_ids[self.manifest.shards[spans[0].shard].source]

    def epochs(self, steps: int) -> dict[str, float]:
        """How many times each stream has been read after a number of steps, at the sequence length of the last."""
        index = self.drawn.after(steps)
        stretch = self.stretch(max(0, index - 1))
        return {name: count / stretch.samples[name] for name, count in stretch.drawn_until(index).items()}

    def _order_name(self, name: str, length: int) -> str:
        """What a stream's order is called: the run's first sequence length needs no distinction."""
        return name if length == self.stretches[0].sequence_length else f"{name}\0{length}"


def without_removed(manifest: Manifest, spans: Iterable[Span]) -> Iterator[Span]:
    """What may be read of some spans."""
    for span in spans:
        holes = manifest.holes.get(manifest.shards[span.shard].path)
        if holes is None:
            yield span
        else:
            yield from (Span(span.shard, start, stop) for start, stop in holes.rest(span.start, span.stop))


def _epoch_permutation(seed: int, order: str, samples: int, epoch: int) -> Permutation:
    return Permutation(samples, epoch_key(seed, order, epoch))


def _facts(stretch: Stretch) -> dict[str, Any]:
    """What the hash of a plan says of a stretch."""
    shares = None if stretch.mixture is None else stretch.mixture.shares
    return {"sequence_length": stretch.sequence_length, "mixture": shares}


def _stretches(manifest: Manifest, split: str, phases: Sequence[Phase], packing: Packing) -> tuple[Stretch, ...]:
    """The phases, without their batches: one stretch as long as neither mixture nor sequence length change."""
    found: list[Stretch] = []
    drawn: dict[tuple[str, int], int] = {}  # (stream, sequence length) -> samples
    for phase in phases:
        weights = phase.mixture or manifest.mixture(split)
        mixture = Mixture(weights) if weights else None
        if found:
            last = found[-1]
            if _facts(last) == {"sequence_length": phase.sequence_length, "mixture": mixture and mixture.shares}:
                continue
            before = last.drawn_until(phase.first_sample)
            drawn.update({(name, last.sequence_length): count for name, count in before.items()})
        section = f"stages[{phase.stage}]" if phase.stage else "data"
        streams = _streams(manifest, split, mixture, f"{section}.mixture", packing)
        length = phase.sequence_length
        samples = {name: stream.samples(length, f"{section}.sequence_length") for name, stream in streams.items()}
        counts = {name: drawn.get((name, length), 0) for name in streams}
        found.append(Stretch(phase.first_sample, length, mixture, streams, samples, counts))
    return tuple(found)


def _streams(manifest: Manifest, split: str, mixture: Mixture | None, key: str, packing: Packing) -> dict[str, Samples]:
    """One stream for each source of the mixture, or one of all sources in the manifest's order."""
    places = manifest.of_split(split)
    if mixture is None:
        return {ALL_SOURCES: _stream(manifest, ALL_SOURCES, places, key, packing)}
    by_source: dict[str, list[int]] = {}
    for place in places:
        by_source.setdefault(manifest.shards[place].source, []).append(place)
    if unknown := [name for name in mixture.sources if name not in by_source]:
        raise UserError(
            f"no such source in split {split!r} of {manifest.name}",
            where=key,
            found=", ".join(unknown),
            wanted=", ".join(by_source),
        )
    return {name: _stream(manifest, name, by_source[name], key, packing) for name in mixture.sources}


def _stream(manifest: Manifest, name: str, places: list[int], key: str, packing: Packing) -> Samples:
    """The stream of some shards, with what was removed of them. Raises UserError where that is all of it."""
    stream = samples_of(manifest, name, places, packing)
    if stream.tokens and not sum(manifest.left(place).tokens for place in places):
        raise UserError(
            f"all documents of {f'source {name!r}' if name else 'these data'} were removed",
            where=manifest.folder / MANIFEST,
            found=f"{stream.tokens:,} tokens, none of which may be read",
            wanted="a source of which something is left",
            way_out=f"take it out of {key}, or build the corpus without it",
        )
    return stream
