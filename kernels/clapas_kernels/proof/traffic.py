"""The traffic meter: what the kernels of an operation move through memory, and whether they may.

    with Traffic(races=True) as traffic:
        operation(...)                       # any number of Triton launches and ATen operators
    print(traffic.table()); traffic.total("dram") / minimal_bytes

Of each Triton launch it counts
- issued bytes: of the active lanes of every load, store and atomic (twice: it reads and writes);
- sectors: the 32-byte sectors that each access touches, which is what the L2 cache must serve;
- DRAM bytes, modelled: every address once for each launch and direction. A perfect cache within a launch and none
  between two: the figure to hold against the bandwidth of the memory.
Of ATen operators that run between the launches it counts each input once and each output once, so a `zeros_like`, a
cast or a `.sum(0)` beside a kernel is not free. Views and empty allocations are.

It raises `MeterError` at the first access outside the elements of the tensors that the launch was given, at the first
store into a tensor that is `read_only`, and with `races=True` where two programs of a launch meet at an address (a lock
that orders them is not understood: it is reported as a race).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from triton.runtime import interpreter as shipped
from triton.runtime.errors import InterpreterError

from clapas_kernels.proof.interpreter import repaired, replaced
from clapas_kernels.proof.numbers_as_bits import Builder, Handle
from clapas_kernels.proof.touched import Access, Kind, MeterError, OutOfBoundsError, Place, RaceError, Touched

SECTOR = 32
"""Bytes that an L2 cache moves at least: NVIDIA's sector, of which AMD's lines of 64 and 128 bytes are multiples."""
FEW_RUNS = 16
"""Up to so many runs of addresses, slices are quicker than indices."""


@dataclass(slots=True)
class Record:
    """What one Triton launch, or one ATen operator, moved, in bytes."""

    name: str
    kind: Literal["triton", "aten"]
    programs: int = 0
    loaded: int = 0
    stored: int = 0
    atomics: int = 0
    sectors_loaded: int = 0
    sectors_stored: int = 0
    dram_read: int = 0
    dram_written: int = 0

    @property
    def issued(self) -> int:
        """Bytes that the lanes ask for."""
        return self.loaded + self.stored + self.atomics

    @property
    def sectors(self) -> int:
        """Bytes of all sectors touched."""
        return SECTOR * (self.sectors_loaded + self.sectors_stored)

    @property
    def dram(self) -> int:
        """Bytes through the memory, modelled."""
        return self.dram_read + self.dram_written


class Traffic:
    """Count what runs within, as the module says, in the repaired interpreter (`interpreter.repaired`).

    races: find races between the programs of a launch.
    read_only: tensors that nothing may be stored into.
    Raises NotInterpretingError, UnsupportedTritonError on entry, MeterError from the launch that misbehaves.
    """

    def __init__(self, races: bool = False, read_only: Iterable[Tensor] = ()) -> None:
        self.records: list[Record] = []
        self._races = races
        self._read_only = {tensor.untyped_storage().data_ptr() for tensor in read_only}
        self._current: Record | None = None
        self._storages: list[Touched] = []
        self._bases: list[int] = []
        self._barriers = 0
        self._is_atomic = False
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self._undo.enter_context(repaired())
        self._undo.enter_context(replaced(Builder, **self._watched_accesses()))
        self._undo.enter_context(replaced(shipped.GridExecutor, __call__=self._watched_launch()))
        self._undo.enter_context(_WatchAten(self))
        return self

    def __exit__(self, *exception: object) -> None:
        self._undo.close()

    def total(self, what: str = "dram", kind: str | None = None) -> int:
        """The sum of a field of `Record` over all launches, or those of one kind ("triton", "aten")."""
        return sum(getattr(record, what) for record in self.records if kind in (None, record.kind))

    def count(self, kind: str = "triton") -> int:
        """How many launches there were."""
        return sum(record.kind == kind for record in self.records)

    def table(self) -> str:
        """A line for each kernel and operator."""
        columns = ("loaded", "stored", "atomics", "sectors", "dram_read", "dram_written")
        sums: dict[str, list[int]] = defaultdict(lambda: [0] * (1 + len(columns)))
        for record in self.records:
            added = (1, *(getattr(record, column) for column in columns))
            sums[record.name] = [a + b for a, b in zip(sums[record.name], added, strict=True)]
        head = f"{'kernel':40}{'times':>6}" + "".join(f"{column:>14}" for column in columns)
        rows = [f"{name[:39]:40}{row[0]:6}" + "".join(f"{n:14,}" for n in row[1:]) for name, row in sums.items()]
        return "\n".join([head, *rows])

    # What is watched

    def _watched_accesses(self) -> dict[str, Callable[..., Any]]:
        load, store = Builder.create_masked_load, Builder.create_masked_store
        update, exchange = Builder.create_atomic_rmw, Builder.create_atomic_cas

        def masked_load(builder: Builder, ptrs: Handle, mask: Handle, *others: Any, **named: Any) -> Handle:
            self._access(builder, ptrs, mask, "atomic" if self._is_atomic else "load")
            return load(builder, ptrs, mask, *others, **named)

        def masked_store(builder: Builder, ptrs: Handle, value: Handle, mask: Handle, *others: Any) -> Any:
            self._access(builder, ptrs, mask, "atomic" if self._is_atomic else "store")
            return store(builder, ptrs, value, mask, *others)

        def atomic_rmw(builder: Builder, op: Any, ptr: Handle, val: Handle, mask: Handle, *others: Any) -> Handle:
            self._access(builder, ptr, mask, "atomic")
            return update(builder, op, ptr, val, mask, *others)

        def atomic_cas(builder: Builder, ptr: Handle, *others: Any) -> Handle:
            self._access(builder, ptr, None, "atomic")
            return exchange(builder, ptr, *others)

        return {
            "create_masked_load": masked_load,
            "create_masked_store": masked_store,
            "create_atomic_rmw": atomic_rmw,
            "create_atomic_cas": atomic_cas,
            "create_barrier": lambda builder: self._barrier(),
            "create_atomic_load": self._atomically(Builder.create_atomic_load),
            "create_atomic_store": self._atomically(Builder.create_atomic_store),
        }

    def _barrier(self) -> None:
        """Orders a program's own accesses: what was stored before may be loaded after."""
        self._barriers += 1

    def _atomically(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The interpreter makes atomic loads and stores of plain ones."""

        def watched(*arguments: Any) -> Any:
            self._is_atomic = True
            try:
                return function(*arguments)
            finally:
                self._is_atomic = False

        return watched

    def _watched_launch(self) -> Callable[..., Any]:
        call = shipped.GridExecutor.__call__

        def launch(executor: Any, *args: Any, **kwargs: Any) -> Any:
            self._begin(executor.fn.__name__, list(tensors_of((args, kwargs))))
            try:
                return call(executor, *args, **kwargs)
            except InterpreterError as error:
                if finding := _finding(error):
                    raise finding from None
                raise
            finally:
                self._end()

        return launch

    def _begin(self, name: str, arguments: list[Tensor]) -> None:
        views: dict[int, list[Tensor]] = defaultdict(list)
        for tensor in arguments:
            if tensor.untyped_storage().nbytes():
                views[tensor.untyped_storage().data_ptr()].append(tensor)
        self._bases = sorted(views)
        self._storages = [Touched(views[base], self._races, base in self._read_only) for base in self._bases]
        self._current, self._barriers = Record(name, "triton"), 0

    def _end(self) -> None:
        assert self._current is not None
        self._current.dram_read = sum(storage.bytes_read for storage in self._storages)
        self._current.dram_written = sum(storage.bytes_written for storage in self._storages)
        self.records.append(self._current)
        self._current, self._storages, self._bases = None, [], []

    # One access

    def _access(self, builder: Builder, ptrs: Handle, mask: Handle | None, kind: Kind) -> None:
        record = self._current
        if record is None:
            return
        x, y, z = builder.grid_idx
        _, ny, nz = builder.grid_dim
        record.programs = int(np.prod(builder.grid_dim))
        size = max(1, ptrs.get_element_ty().primitive_bitwidth // 8)
        addresses = _active(ptrs, mask)
        if not addresses.size:
            return
        access = Access(record.name, kind, (x * ny + y) * nz + z, self._barriers)
        starts, ends = _runs(addresses, size)
        if self._races and kind == "store" and int((ends - starts).sum()) < addresses.size * size:
            raise RaceError(f"{access} one address from several lanes at once")
        self._count(record, kind, addresses.size * size, _sectors(starts, ends))
        for storage, inside in self._by_storage(starts, ends, access):
            for place in _places(starts[inside] - storage.base, ends[inside] - storage.base):
                storage.touch(place, access)

    @staticmethod
    def _count(record: Record, kind: Kind, issued: int, sectors: int) -> None:
        if kind != "store":
            record.sectors_loaded += sectors
        if kind != "load":
            record.sectors_stored += sectors
        match kind:
            case "load":
                record.loaded += issued
            case "store":
                record.stored += issued
            case "atomic":
                record.atomics += 2 * issued

    def _by_storage(self, starts: Addresses, ends: Addresses, access: Access) -> Iterable[tuple[Touched, slice]]:
        """Which runs lie in which storage. Raises OutOfBoundsError where one lies in none."""
        done = 0
        while done < len(starts):
            index = bisect_right(self._bases, int(starts[done])) - 1
            if index < 0 or ends[done] > self._storages[index].end:
                raise OutOfBoundsError(f"{access} outside every tensor that the launch was given")
            storage = self._storages[index]
            upto = int(np.searchsorted(ends, storage.end, side="right"))
            yield storage, slice(done, upto)
            done = upto


Addresses = NDArray[np.int64]


def _active(ptrs: Handle, mask: Handle | None) -> Addresses:
    """The addresses of the lanes that are not masked, flat."""
    addresses = np.asarray(ptrs.data)
    if mask is not None:
        active = np.broadcast_to(np.asarray(mask.data), addresses.shape)
        addresses = addresses.reshape(-1) if active.all() else addresses[active]
    return addresses.reshape(-1).view(np.int64)


def _runs(addresses: Addresses, size: int) -> tuple[Addresses, Addresses]:
    """The first byte and the byte after the last of each unbroken run of addresses, ascending."""
    first, last = addresses[0], addresses[-1]
    if last - first == (addresses.size - 1) * size and (np.diff(addresses) == size).all():
        return np.array([first]), np.array([last + size])
    ascending = np.unique(addresses)
    breaks = np.flatnonzero(np.diff(ascending) > size)
    return ascending[np.r_[0, breaks + 1]], ascending[np.r_[breaks, ascending.size - 1]] + size


def _sectors(starts: Addresses, ends: Addresses) -> int:
    """How many sectors the runs touch: two runs may share one."""
    first, last = starts // SECTOR, (ends - 1) // SECTOR
    return int((last - first + 1).sum() - (first[1:] == last[:-1]).sum())


def _places(starts: Addresses, ends: Addresses) -> Sequence[Place]:
    if len(starts) <= FEW_RUNS:
        return [slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return [np.arange(lengths.sum()) + np.repeat(starts - before, lengths)]


def tensors_of(arguments: Any) -> Iterable[Tensor]:
    """Every tensor among a launch's arguments, also within tuples, wrappers and tensor descriptors."""
    if isinstance(arguments, Tensor):
        yield arguments
    elif isinstance(arguments, dict):
        yield from tensors_of(tuple(arguments.values()))
    elif isinstance(arguments, tuple | list):
        for argument in arguments:
            yield from tensors_of(argument)
    elif hasattr(arguments, "base"):
        yield from tensors_of(arguments.base)


def _finding(error: BaseException) -> MeterError | None:
    """The meter's own error, which the interpreter wraps once for each function that it passes."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, MeterError):
        cause = cause.__cause__
    return cause


# ATen

_FREE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"} | {
    "detach",
    "lift_fresh",
    "set_",
    "resize_",
    "is_same_size",
    "_local_scalar_dense",
    "_unsafe_view",
}
"""Operators that move nothing; views are known by themselves."""

_WRITES_ONLY = {"zero_", "fill_", "zeros", "zeros_like", "full", "full_like", "ones", "ones_like", "arange"} | {
    "new_zeros",
    "new_full",
    "new_ones",
    "scalar_tensor",
    "normal_",
    "uniform_",
    "randn",
    "rand",
}
"""Operators that read none of their tensors."""


class _WatchAten(TorchDispatchMode):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace not in ("aten", "prims"):
            return self._inside(func, args, kwargs)
        result = func(*args, **kwargs)
        if self._traffic._current is None:
            self._count(func, args, kwargs, result)
        return result

    def _inside(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A custom operator counts as what it does: its CPU implementation, watched."""
        with self:
            return func.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), *args, **kwargs)

    def _count(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        name = func._schema.name.split("::")[-1]
        if name in _FREE or func.is_view:
            return
        read = [] if name in _WRITES_ONLY else _tensors((args, {k: v for k, v in kwargs.items() if k != "out"}))
        if name == "copy_":
            read = _tensors(args[1:])
        record = Record(
            f"aten.{name}", "aten", dram_read=bytes_of(*_distinct(read)), dram_written=bytes_of(*_tensors(result))
        )
        record.loaded, record.stored = record.dram_read, record.dram_written
        if record.dram:
            self._traffic.records.append(record)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _distinct(tensors: list[Tensor]) -> Iterable[Tensor]:
    """Each once, also where an operator is given one twice."""
    return {(tensor.data_ptr(), tensor.shape, tensor.stride()): tensor for tensor in tensors}.values()


def bytes_of(*tensors: Tensor) -> int:
    """The bytes of the tensors' elements; an expanded dimension counts once."""
    total = 0
    for tensor in tensors:
        count = 1
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
            count *= size if stride or not size else 1
        total += count * tensor.element_size()
    return total
