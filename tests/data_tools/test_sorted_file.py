"""Numbers sorted by files: as if they had been sorted in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clapas_data.sorted_file import open_sorted, write_sorted

ARRAYS = st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=20), max_size=8)


@given(ARRAYS, st.integers(1, 50))
def test_as_in_memory(arrays: list[list[int]], spill: int) -> None:
    """Whatever the numbers, and however few are held before they go to the disk; nothing else is left there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sorted"
        write_sorted(path, (np.array(values, np.uint64) for values in arrays), spill)
        assert open_sorted(path).tolist() == sorted({value for values in arrays for value in values})
        assert [*Path(folder).iterdir()] == [path]
