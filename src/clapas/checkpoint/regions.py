"""Regions of a parameter: what a rank holds of it, and which elements two ranks' regions share.

A tensor-parallel rank holds a part: a slice of one dimension. ZeRO cuts what the rank holds, flattened, into ranges.
So a region is a range of a flattened part: seen from the whole parameter, a run of neighbouring elements in each row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

Shape = tuple[int, ...]


class Part(NamedTuple):
    """Indices [start, stop) of dimension `dim` of a parameter."""

    dim: int
    start: int
    stop: int


class Region(NamedTuple):
    """Elements [offset, offset + length) of a part, flattened; of the whole parameter where part is None."""

    part: Part | None
    offset: int
    length: int

    @property
    def end(self) -> int:
        """The offset behind the last element."""
        return self.offset + self.length


def region_of(shape: Shape, part: Part | None, offset: int, length: int) -> Region:
    """A region in its plainest form: a slice of the first dimension is a range of the whole parameter."""
    if part is not None and part.dim == 0:
        return Region(None, part.start * prod(shape[1:]) + offset, length)
    return Region(part, offset, length)


def shared_runs(shape: Shape, one: Region, other: Region) -> Iterator[tuple[int, int, int]]:
    """(place in `one`, place in `other`, length) of each run of elements that both hold, places from a region's start.

    shape: the whole parameter's. Raises ValueError where the two are slices of different dimensions.
    """
    if one.part == other.part:
        low, high = max(one.offset, other.offset), min(one.end, other.end)
        if low < high:
            yield low - one.offset, low - other.offset, high - low
        return
    dims = {part.dim for part in (one.part, other.part) if part is not None}
    if len(dims) > 1:
        raise ValueError(f"slices of different dimensions: {one.part}, {other.part}")
    first, second = (_columns(shape, region.part, *dims) for region in (one, other))
    rows = range(
        max(one.offset // len(first), other.offset // len(second)),
        min(-(-one.end // len(first)), -(-other.end // len(second))),
    )
    for row in rows:
        in_one, in_other = _run(one, first, row), _run(other, second, row)
        low, high = max(in_one.start, in_other.start), min(in_one.stop, in_other.stop)
        if low < high:
            yield (
                row * len(first) + low - first.start - one.offset,
                row * len(second) + low - second.start - other.offset,
                high - low,
            )


def _columns(shape: Shape, part: Part | None, dim: int) -> range:
    """The columns of a part, where the parameter is seen as a matrix whose rows end with dimensions `dim` and after."""
    inner = prod(shape[dim + 1 :])
    return range(shape[dim] * inner) if part is None else range(part.start * inner, part.stop * inner)


def _run(region: Region, columns: range, row: int) -> range:
    """The columns of one row that a region holds."""
    begin = row * len(columns)
    low, high = max(region.offset - begin, 0), min(region.end - begin, len(columns))
    return range(columns.start + low, columns.start + high)


def check_cover(shape: Shape, regions: Iterable[Region]) -> None:
    """Raise ValueError where regions do not hold every element of a parameter exactly once."""
    by_part: defaultdict[Part | None, list[Region]] = defaultdict(list)
    for region in regions:
        by_part[region.part].append(region)
    for part, held in by_part.items():
        end = 0
        for region in sorted(held, key=lambda region: region.offset):
            if region.offset != end:
                raise ValueError(f"elements {end}..{region.offset} have no owner, or two")
            end = region.end
        elements = prod(shape) if part is None else prod(shape) // shape[part.dim] * (part.stop - part.start)
        if end != elements:
            raise ValueError(f"{end} of {elements} elements have an owner")
    parts = [part for part in by_part if part is not None]
    if not parts:
        return
    end = 0
    for part in sorted(parts):
        if part.dim != parts[0].dim or part.start != end or None in by_part:
            raise ValueError(f"the slices {sorted(parts)} have a gap or an overlap")
        end = part.stop
    if end != shape[parts[0].dim]:
        raise ValueError(f"the slices {sorted(parts)} leave {end}..{shape[parts[0].dim]} without an owner")
