"""Files of arrays: safetensors' own format, read by slices; a cut one is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from clapas_data.deduplicate.arrays import KEY_BITS, Arrays, bucket_slices, buckets, key_shelf, write_arrays


def test_buckets_hold_all_keys_once(tmp_path: Path) -> None:
    """Each key with its document is in the bucket of its first bits, in order; any tool reads the file."""
    key = np.random.default_rng(0).integers(0, 2**64, 5000, dtype=np.uint64)
    key[:3] = [0, 2**64 - 1, 1 << 63]
    path = tmp_path / "keys.safetensors"
    write_arrays(path, key_shelf("near", key, document=np.arange(5000, dtype=np.uint32), held=key % 2 == 0))
    for count in (1, 4, 64, 2**KEY_BITS):
        found = []
        with Arrays(path) as arrays:
            for bucket in range(count):
                own, document, held = arrays.slices("near", *bucket_slices(bucket, count), "key", "document", "held")
                assert (own.astype(object) * count >> 64 == bucket).all()
                assert (key[document] == own).all()
                assert (held == (own % 2 == 0)).all()
                found.append(own)
        assert (np.concatenate(found) == np.sort(key)).all()
    assert (load_file(path)["near.key"] == np.sort(key)).all()


def test_a_cut_file_is_told(tmp_path: Path) -> None:
    """It is not taken for a short one."""
    path = tmp_path / "keys.safetensors"
    write_arrays(path, {"a": np.arange(100)})
    path.write_bytes(path.read_bytes()[:-8])
    with Arrays(path) as arrays:
        assert arrays.read("a", 0, 99).tolist() == list(range(99))
        with pytest.raises(OSError, match="ends within a"):
            arrays.read("a")


def test_buckets_follow_from_the_keys() -> None:
    """A power of two; about four million keys each, up to 4,096 buckets."""
    assert [buckets(keys) for keys in (0, 10, 2**24, 2**24 + 1, 360_000_000, 2**40)] == [4, 4, 4, 8, 128, 4096]
