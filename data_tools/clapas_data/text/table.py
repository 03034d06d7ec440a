"""A table from 64-bit hashes to 32-bit values, looked up a whole batch at a time.

Open addressing with linear probing (Knuth, TAOCP 3, 6.4), at most half full. A slot is one uint64: the hash's upper 32
bits, of which the lowest is always set, so that 0 is an empty slot, and the value. A hash that is not in the table is
taken for one that is with a probability of about 2^-30.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MISSING = np.uint32(0xFFFFFFFF)
"""The value of a hash that the table does not hold."""
FEWEST_SLOTS = 2**12
_HALF = np.uint64(32)


@dataclass(frozen=True, slots=True)
class HashTable:
    """slots: uint64[a power of two]; it may be a memory map."""

    slots: np.ndarray

    @classmethod
    def build(cls, keys: np.ndarray, values: np.ndarray) -> HashTable:
        """A table of distinct hashes, uint64[n], and their values, uint32[n], none of them `MISSING`."""
        size = max(FEWEST_SLOTS, slots_for(len(keys)))
        slots, last = np.zeros(size, np.uint64), np.uint64(size - 1)
        entries = (_marks(keys) << _HALF) | values.astype(np.uint64)
        waiting, probe = np.arange(len(keys)), np.uint64(0)
        while len(waiting):
            wanted = (keys[waiting] + probe) & last
            free = np.flatnonzero(slots[wanted] == 0)
            taken, first = np.unique(wanted[free], return_index=True)  # of several that want a slot, the first has it
            slots[taken] = entries[waiting[free[first]]]
            waiting = np.delete(waiting, free[first])
            probe += np.uint64(1)
        return cls(slots)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The values of hashes, uint32[n]; `MISSING` where the table does not hold one."""
        last = np.uint64(len(self.slots) - 1)
        marks = _marks(keys)
        entries = self.slots[keys & last]
        same = (entries >> _HALF) == marks
        found = np.where(same, entries.astype(np.uint32), MISSING)  # the cast keeps the lower 32 bits
        seeking, probe = np.flatnonzero(~same & (entries != 0)), np.uint64(0)
        while len(seeking):
            probe += np.uint64(1)
            entries = self.slots[(keys[seeking] + probe) & last]
            same = (entries >> _HALF) == marks[seeking]
            found[seeking[same]] = entries[same].astype(np.uint32)
            seeking = seeking[~same & (entries != 0)]
        return found


def slots_for(count: int) -> int:
    """Slots of a table that holds `count` hashes: a power of two, at least twice as many."""
    return 1 << max(1, (2 * count - 1).bit_length()) if count else 1


def _marks(keys: np.ndarray) -> np.ndarray:
    return (keys >> _HALF) | np.uint64(1)
