"""Where documents begin and end in the very shards that a run read: their tokens, whatever the manifest says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clapas.loader.readers import TRAIN
from clapas_data.manifest import Manifest
from clapas_data.shards import TokenShard

SHARDS, DOCUMENTS = 64, 16
"""Most shards, and documents of each, that are looked into; the first and the last are among them."""


@dataclass(frozen=True, slots=True)
class Edges:
    """The first and the last token of a document. shard: its path in the data's folder."""

    shard: str
    first: int
    last: int


def document_edges(manifest: Manifest) -> Iterator[Edges]:
    """Of documents spread evenly over the training shards. Raises UserError where a block is not as it was written."""
    shards = [manifest.shards[place] for place in manifest.of_split(TRAIN)]
    for place in _spread(len(shards), SHARDS):
        shard = TokenShard(manifest.folder, shards[place])
        for document in _spread(shard.record.documents, DOCUMENTS):
            start, stop = shard.document_start(document), shard.document_start(document + 1)
            if start < stop:
                first, last = (int(shard.read(at, at + 1)[0]) for at in (start, stop - 1))
                yield Edges(shards[place].path, first, last)


def _spread(count: int, most: int) -> list[int]:
    return sorted({*np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()}) if count else []
