"""The data plan: `(its hash, sample index) -> token spans`, in O(1) memory and time whatever the size of the corpus.

Sample indices count through the run, over epochs, ranks and steps alike: index 0 is the first sample of step 1. Nothing
here depends on the number of ranks, and nothing has to be stored to go on: a resume needs the index alone.
Knows no torch, and reads no token.
"""

from __future__ import annotations

from functools import lru_cache

from clapas.loader.config import DataConfig
from clapas.loader.mixture import Mixture
from clapas.loader.order import ORDER_VERSION, Permutation, epoch_key
from clapas.loader.stream import Span, Stream
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash
from clapas_data.manifest import Manifest

ALL_SOURCES = ""
"""The name of the one stream that there is without a mixture."""


class DataPlan:
    """What every sample index of a run reads.

    manifest: the corpus. config: the recipe's `data`. seed: the run's. global_batch_size: samples in a step.
    split: the documents to read. hash: equal for equal orders and targets; a run resumes only where it is equal.
    Raises UserError for a mixture of unknown sources or a sequence length longer than the text.
    """

    def __init__(
        self, manifest: Manifest, config: DataConfig, *, seed: int, global_batch_size: int, split: str = "train"
    ) -> None:
        self.manifest, self.config, self.seed = manifest, config, seed
        self.global_batch_size, self.split = global_batch_size, split
        self.mixture = Mixture(config.mixture) if config.mixture else None
        self.streams = _streams(manifest, split, self.mixture)
        self.samples = {name: stream.samples(config.sequence_length) for name, stream in self.streams.items()}
        self._permutation = lru_cache(maxsize=2 * len(self.streams))(self._epoch_permutation)

    @property
    def hash(self) -> str:
        """SHA-256, in hex, of all that decides the order: no path, no batch size, no number of ranks."""
        return content_hash(
            {
                "order": ORDER_VERSION,
                "manifest": self.manifest.hash,
                "split": self.split,
                "sequence_length": self.config.sequence_length,
                "mixture": self.mixture.shares if self.mixture else None,
                "document_mask": self.config.document_mask,
                "seed": self.seed,
            }
        )

    def interval(self, step: int) -> range:
        """The sample indices that a step (from 1) reads, over all ranks."""
        if step < 1:
            raise IndexError(f"step {step}: steps count from 1")
        return range((step - 1) * self.global_batch_size, step * self.global_batch_size)

    def rank_interval(self, step: int, rank: int, world: int) -> range:
        """The part of a step's interval that one of `world` ranks reads. Raises UserError where it cannot be shared."""
        if self.global_batch_size % world:
            raise UserError(
                "this number of ranks does not divide the global batch",
                where="train.global_batch_size",
                found=f"{self.global_batch_size} samples on {world} ranks",
                wanted=f"a multiple of {world}",
            )
        share = self.global_batch_size // world
        return self.interval(step)[rank * share : (rank + 1) * share]

    def spans(self, index: int) -> list[Span]:
        """Where a sample's tokens lie: sequence_length + 1 of them, less only for the last sample of a stream."""
        name, draw = self.mixture(index) if self.mixture else (ALL_SOURCES, index)
        epoch, place = divmod(draw, self.samples[name])
        start = self._permutation(name, epoch)(place) * self.config.sequence_length
        return self.streams[name].spans(start, start + self.config.sequence_length + 1)

    def epochs(self, steps: int) -> dict[str, float]:
        """How many times each stream has been read after a number of steps."""
        total = steps * self.global_batch_size
        if self.mixture is None:
            return {ALL_SOURCES: total / self.samples[ALL_SOURCES]}
        return {name: self.mixture.drawn(name, total) / self.samples[name] for name in self.streams}

    def _epoch_permutation(self, name: str, epoch: int) -> Permutation:
        return Permutation(self.samples[name], epoch_key(self.seed, name, epoch))


def _streams(manifest: Manifest, split: str, mixture: Mixture | None) -> dict[str, Stream]:
    """One stream for each source of the mixture, or one of all sources in the manifest's order."""
    places = manifest.of_split(split)
    if mixture is None:
        return {ALL_SOURCES: Stream.of(ALL_SOURCES, places, [manifest.shards[place].tokens for place in places])}
    by_source: dict[str, list[int]] = {}
    for place in places:
        by_source.setdefault(manifest.shards[place].source, []).append(place)
    if unknown := [name for name in mixture.sources if name not in by_source]:
        raise UserError(
            f"data.mixture: no such source in split {split!r} of {manifest.name}",
            where="data.mixture",
            found=", ".join(unknown),
            wanted=", ".join(by_source),
        )
    return {
        name: Stream.of(name, by_source[name], [manifest.shards[place].tokens for place in by_source[name]])
        for name in mixture.sources
    }
