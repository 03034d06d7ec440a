"""What two ranks' regions of a parameter share, checked element by element."""

from __future__ import annotations

from math import prod

import pytest
import torch

from clapas.checkpoint.regions import Part, Region, check_cover, region_of, shared_runs

SHAPE = (4, 6, 3)
FULL = torch.arange(prod(SHAPE)).view(SHAPE)
PARTS = [None, Part(0, 1, 3), Part(1, 0, 2), Part(1, 2, 6), Part(1, 1, 5)]


def elements(part: Part | None, offset: int, length: int) -> torch.Tensor:
    """A region's elements, each numbered by its place in the whole parameter."""
    held = FULL if part is None else FULL.narrow(part.dim, part.start, part.stop - part.start)
    return held.reshape(-1)[offset : offset + length]


@pytest.mark.parametrize("one", PARTS)
@pytest.mark.parametrize("other", PARTS)
def test_runs_join_equal_elements_and_miss_none(one: Part | None, other: Part | None) -> None:
    """For ranges that begin and end within rows: each shared element once, at its place in both."""
    for first in ((0, 24), (5, 17), (11, 2)):
        for second in ((0, 24), (7, 9), (20, 4)):
            in_first, in_second = elements(one, *first), elements(other, *second)
            regions = region_of(SHAPE, one, *first), region_of(SHAPE, other, *second)
            found = []
            for at, place, length in shared_runs(SHAPE, *regions):
                assert torch.equal(in_first[at : at + length], in_second[place : place + length])
                found += in_first[at : at + length].tolist()
            assert sorted(found) == sorted(set(in_first.tolist()) & set(in_second.tolist()))


def test_slices_of_different_dimensions_are_refused() -> None:
    """No layout has them: a parameter is cut along one dimension."""
    with pytest.raises(ValueError, match="different dimensions"):
        list(shared_runs(SHAPE, Region(Part(1, 0, 2), 0, 4), Region(Part(2, 0, 1), 0, 4)))


def test_slices_that_make_the_whole_are_a_cover() -> None:
    """Each slice in one piece or several, in any order."""
    check_cover(SHAPE, [Region(Part(1, 2, 6), 0, 48), Region(Part(1, 0, 2), 10, 14), Region(Part(1, 0, 2), 0, 10)])
    check_cover(SHAPE, [Region(None, 40, 32), Region(None, 0, 40)])


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ([Region(Part(1, 0, 2), 0, 24)], "leave 2..6"),
        ([Region(Part(1, 0, 2), 0, 24), Region(Part(1, 3, 6), 0, 36)], "gap or an overlap"),
        ([Region(Part(1, 0, 3), 0, 36), Region(Part(1, 2, 6), 0, 48)], "gap or an overlap"),
        ([Region(Part(1, 0, 2), 0, 24), Region(None, 0, 72)], "gap or an overlap"),
        ([Region(Part(1, 0, 2), 0, 20), Region(Part(1, 2, 6), 0, 48)], "20 of 24"),
        ([Region(None, 0, 40), Region(None, 30, 42)], "or two"),
    ],
)
def test_a_hole_or_an_overlap_is_no_cover(regions: list[Region], words: str) -> None:
    """Between slices and within one."""
    with pytest.raises(ValueError, match=words):
        check_cover(SHAPE, regions)
