"""What one launch does to the memory of one tensor: which bytes it reads and writes, in which program, by what right.

Programs of a launch run at the same time on a GPU and one after another in the interpreter, which so hides every race.
Here each byte remembers its readers and writers, and an access that another program's could overtake is an error. So is
a load of what the same program stored, unless a barrier stands between: its threads are not ordered through memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from torch import Tensor

from clapas_kernels.proof.reserved import reserved_array

Kind = Literal["load", "store", "atomic"]
Place = slice | NDArray[np.int64]
"""Bytes of a storage, counted from its first."""

NOBODY, SEVERAL = 0, -1
"""Of a byte's readers or writers; else one program's number, from 1."""


class MeterError(AssertionError):
    """A kernel does what no kernel may: the meter's finding, not the meter's failure."""


class OutOfBoundsError(MeterError):
    """An access outside the elements of every tensor that the launch was given."""


class RaceError(MeterError):
    """Two accesses of one launch reach one address in no order, and at least one of them writes plainly."""


class InputWrittenError(MeterError):
    """A store into a tensor that the operation promised only to read."""


@dataclass(frozen=True, slots=True)
class Access:
    """One load, store or atomic of one program, after so many barriers of its launch; as text, for an error."""

    kernel: str
    kind: Kind
    program: int
    barriers: int

    def __str__(self) -> str:
        verb = {"load": "loads", "store": "stores", "atomic": "updates atomically"}[self.kind]
        return f"{self.kernel}: program {self.program} {verb}"


class Touched:
    """The bytes of one storage during one launch.

    views: the launch's arguments in this storage: an access must stay within their elements, not only in the storage.
    races: whether to find races; it costs sixteen bytes for each byte that is touched.
    """

    def __init__(self, views: Iterable[Tensor], races: bool, is_read_only: bool) -> None:
        views = list(views)
        storage = views[0].untyped_storage()
        self.base, self.end = storage.data_ptr(), storage.data_ptr() + storage.nbytes()
        self.is_read_only = is_read_only
        self.bytes_read = self.bytes_written = 0
        self._allowed = None if any(_covers(view) for view in views) else _elements(views)
        self._read, self._written = (reserved_array(storage.nbytes(), np.bool_) for _ in range(2))
        self._owners: dict[Kind, NDArray[np.int32]] = {}
        if races:
            self._owners = {kind: reserved_array(storage.nbytes(), np.int32) for kind in get_args(Kind)}
            self._stored_after = reserved_array(storage.nbytes(), np.int32)

    def touch(self, place: Place, access: Access) -> None:
        """Mark bytes as read or written. Raises MeterError: what the access may not do."""
        if self._allowed is not None and not self._allowed[place].all():
            raise OutOfBoundsError(f"{access} between the elements of a strided tensor")
        if access.kind != "load" and self.is_read_only:
            raise InputWrittenError(f"{access} into an input")
        if access.kind != "store":
            self.bytes_read += _mark(self._read, place)
        if access.kind != "load":
            self.bytes_written += _mark(self._written, place)
        if self._owners:
            self._look_for_races(place, access)

    def _look_for_races(self, place: Place, access: Access) -> None:
        me = access.program + 1
        disturbs: dict[Kind, tuple[Kind, ...]] = {
            "load": ("store", "atomic"),
            "store": ("load", "store", "atomic"),
            "atomic": ("load", "store"),
        }
        for other in disturbs[access.kind]:
            owners = self._owners[other][place]
            if ((owners != NOBODY) & (owners != me)).any():
                what = {"load": "loaded", "store": "stored", "atomic": "updated atomically"}[other]
                raise RaceError(f"{access} what another program {what} in this launch")
        if access.kind == "load":
            is_mine = self._owners["store"][place] == me
            if (is_mine & (self._stored_after[place] == access.barriers)).any():
                raise RaceError(f"{access} what it stored itself, with no tl.debug_barrier() between")
        elif access.kind == "store":
            self._stored_after[place] = access.barriers
        owners = self._owners[access.kind][place]
        self._owners[access.kind][place] = np.where((owners == NOBODY) | (owners == me), me, SEVERAL)


def _mark(touched: NDArray[np.bool_], place: Place) -> int:
    """Set the bytes; returns how many were not yet."""
    part = touched[place]
    fresh = part.size - int(np.count_nonzero(part))
    if fresh:
        touched[place] = True
    return fresh


def _covers(view: Tensor) -> bool:
    return view.is_contiguous() and view.numel() * view.element_size() == view.untyped_storage().nbytes()


def _elements(views: list[Tensor]) -> NDArray[Any]:
    """Which bytes of the storage belong to an element of a view. Reserved memory stays unwritten elsewhere."""
    allowed = reserved_array(views[0].untyped_storage().nbytes(), np.bool_)
    for view in views:
        size = view.element_size()
        strides = (*(stride * size for stride in view.stride()), 1)
        as_strided(allowed[view.storage_offset() * size :], (*view.shape, size), strides)[...] = True
    return allowed
