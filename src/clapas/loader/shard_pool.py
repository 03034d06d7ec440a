"""The shards that are open: a few of them, however many the corpus has.

Each mapping holds a file descriptor, of which a process has 1,024 by default, so those longest unused are let go. Which
blocks were found sound is remembered for all shards: opening one again does not check them again.
"""

from __future__ import annotations

from collections import OrderedDict

from clapas_data.manifest import Manifest
from clapas_data.shards import TokenShard, new_checked

OPEN_SHARDS = 128
"""Two mappings each: a quarter of the usual limit on descriptors."""


class ShardPool:
    """The shards of a manifest, opened when asked for. One for each thread that reads."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._open: OrderedDict[int, TokenShard] = OrderedDict()
        self._checked: dict[int, tuple[bytearray, bytearray]] = {}

    def __getitem__(self, place: int) -> TokenShard:
        """The shard at a place of the manifest. Raises UserError where it was cut short since then."""
        if (shard := self._open.get(place)) is not None:
            self._open.move_to_end(place)
            return shard
        record = self.manifest.shards[place]
        if place not in self._checked:
            self._checked[place] = new_checked(record)
        shard = self._open[place] = TokenShard(self.manifest.folder, record, self._checked[place])
        if len(self._open) > OPEN_SHARDS:
            self._open.popitem(last=False)
        return shard
