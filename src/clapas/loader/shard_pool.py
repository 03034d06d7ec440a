"""The shards that are open: a few of them, however many the corpus has.

Each mapping holds a file descriptor, of which a process has 1,024 by default, so those longest unused are let go. Which
blocks were found sound is remembered for all shards: opening one again does not check them again.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import accumulate

from clapas_data.manifest import Manifest
from clapas_data.shards import ShardRecord, TokenShard, new_checked

OPEN_SHARDS = 128
"""Two mappings each: a quarter of the usual limit on descriptors."""


class ShardPool:
    """The shards of a manifest, opened when asked for. One for each thread that reads."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._open: OrderedDict[int, TokenShard] = OrderedDict()
        self._checked: dict[int, tuple[bytearray, bytearray]] = {}
        self._documents = [0, *accumulate(shard.documents for shard in manifest.shards)]

    def __getitem__(self, place: int) -> TokenShard:
        """The shard at a place of the manifest. Raises UserError where it was cut short since then."""
        if (shard := self._open.get(place)) is not None:
            self._open.move_to_end(place)
            return shard
        record = self.manifest.shards[place]
        return self._opened(place, record)

    def targets(self, place: int) -> TokenShard | None:
        """What is learned of the shard at a place (see `clapas_data.examples`); None: all of it."""
        record = self.manifest.shards[place].targets
        if record is None:
            return None
        key = ~place
        if (shard := self._open.get(key)) is not None:
            self._open.move_to_end(key)
            return shard
        return self._opened(key, record)

    def documents_before(self, place: int) -> int:
        """Documents of all shards that stand before one in the manifest."""
        return self._documents[place]

    def _opened(self, key: int, record: ShardRecord) -> TokenShard:
        if key not in self._checked:
            self._checked[key] = new_checked(record)
        shard = self._open[key] = TokenShard(self.manifest.folder, record, self._checked[key])
        if len(self._open) > OPEN_SHARDS:
            self._open.popitem(last=False)
        return shard
