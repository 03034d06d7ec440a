"""Which sample comes at which place of an epoch.

The order of a run is a function, not a state: it depends on the seed, the epoch and the place alone. So a resume
needs one integer, any number of ranks reads the same samples, and any step can be asked afterwards what it read. An
epoch is a keyed permutation of `range(size)`: the generalised Feistel cipher with cycle walking of Black & Rogaway,
"Ciphers with arbitrary finite domains" (CT-RSA 2002), in O(1) memory, with no index to build.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np

ORDER_VERSION = 1
"""Part of every data plan's hash: raise it with any change of an order, so that no run resumes into another."""

ROUNDS = 16
"""Four make a Feistel network pseudo-random on large domains (Luby & Rackoff, 1988). Small ones need more: with 8, some
orders of 6 samples were twice as frequent as others; with 16, all 720 are equally so (chi-square, a test)."""

WORD = 2**64 - 1


def epoch_key(seed: int, stream: str, epoch: int) -> int:
    """The 64-bit key of one stream's order in one epoch, equal on every machine."""
    text = f"clapas-order-{ORDER_VERSION}\0{seed}\0{stream}\0{epoch}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True, slots=True)
class Permutation:
    """A bijection of `range(size)`, chosen by `key`.

    size: number of samples, at least 1.
    key: 64-bit seed; equal keys give equal orders on every machine.
    """

    size: int
    key: int
    _sides: tuple[int, int] = field(init=False, repr=False, compare=False)
    _round_keys: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a permutation of {self.size} samples")
        rows = math.isqrt(self.size - 1) + 1  # a rectangle little larger than `size`, so that __call__ rarely walks
        columns = -(-self.size // rows)
        columns += columns % 2  # with two odd sides only even permutations could come out
        golden = 0x9E3779B97F4A7C15
        keys = tuple(_mix((self.key + golden * (turn + 1)) & WORD) for turn in range(ROUNDS))
        object.__setattr__(self, "_sides", (rows, columns))
        object.__setattr__(self, "_round_keys", keys)

    def __call__(self, index: int) -> int:
        """The sample at place `index` of this epoch. Raises IndexError outside `range(size)`."""
        if not 0 <= index < self.size:
            raise IndexError(f"place {index} of {self.size}")
        index = self._encipher(index)
        while index >= self.size:
            index = self._encipher(index)
        return index

    def place_of(self, sample: int) -> int:
        """The place at which a sample comes: the inverse. Raises IndexError outside `range(size)`."""
        if not 0 <= sample < self.size:
            raise IndexError(f"sample {sample} of {self.size}")
        place = self._decipher(sample)
        while place >= self.size:
            place = self._decipher(place)
        return place

    def _encipher(self, index: int) -> int:
        """One pass of the cipher over the whole rectangle: each round shifts one coordinate by a hash of the other."""
        rows, columns = self._sides
        row, column = divmod(index, columns)
        keys = iter(self._round_keys)
        for row_key, column_key in zip(keys, keys, strict=True):
            row = (row + _mix((column + row_key) & WORD)) % rows
            column = (column + _mix((row + column_key) & WORD)) % columns
        return row * columns + column

    def many(self, first: int, last: int) -> np.ndarray:
        """The samples at the places [first, last), as `__call__` gives them one by one; int64, of `last - first`."""
        if not 0 <= first <= last <= self.size:
            raise IndexError(f"places {first} to {last} of {self.size}")
        found = self._encipher_all(np.arange(first, last, dtype=np.uint64))
        while (outside := np.flatnonzero(found >= self.size)).size:
            found[outside] = self._encipher_all(found[outside])
        return found.astype(np.int64)

    def _encipher_all(self, indices: np.ndarray) -> np.ndarray:
        rows, columns = (np.uint64(side) for side in self._sides)
        row, column = np.divmod(indices, columns)
        keys = iter(self._round_keys)
        for row_key, column_key in zip(keys, keys, strict=True):
            row = _shifted(row, _mix_all(column + np.uint64(row_key)), rows)
            column = _shifted(column, _mix_all(row + np.uint64(column_key)), columns)
        return row * columns + column

    def _decipher(self, index: int) -> int:
        """What `_encipher` made `index` of: its rounds, backwards."""
        rows, columns = self._sides
        row, column = divmod(index, columns)
        keys = reversed(self._round_keys)
        for column_key, row_key in zip(keys, keys, strict=True):
            column = (column - _mix((row + column_key) & WORD)) % columns
            row = (row - _mix((column + row_key) & WORD)) % rows
        return row * columns + column


def _mix_all(words: np.ndarray) -> np.ndarray:
    """`_mix` of each of an array of uint64, whose products wrap by themselves."""
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return words ^ words >> np.uint64(31)


def _shifted(values: np.ndarray, by: np.ndarray, size: np.uint64) -> np.ndarray:
    """(values + by) modulo size, where the sum may not fit 64 bits."""
    return (values + by % size) % size


def _mix(word: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea & Flood, 2014): a bijection of 64-bit words that looks random."""
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) & WORD
    return word ^ word >> 31
