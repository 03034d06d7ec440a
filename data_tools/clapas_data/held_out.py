"""Which documents are held out, as a corpus file chooses them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa

from clapas_data.arrow import as_numpy
from clapas_data.chunks import hashes_of
from clapas_data.corpus import HeldOut


def held_out(choices: Sequence[HeldOut], source: str, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Which of a batch any choice takes, bool[documents], and how many each takes, int64[choices]."""
    held, matched = np.zeros(len(batch), bool), np.zeros(len(choices), np.int64)
    for number, choice in enumerate(choices):
        if choice.source in (None, source):
            chosen = _chosen(choice, batch)
            matched[number] = chosen.sum()
            held |= chosen
    return held, matched


def _chosen(choice: HeldOut, batch: pa.RecordBatch) -> np.ndarray:
    """Which documents of a batch a held-out choice takes, as bool[documents]."""
    if choice.fraction is not None:  # by the text's hash: equal texts fall on the same side, whatever their order
        return hashes_of(batch)[:, 0] < np.uint64(choice.fraction * 2**64)
    if choice.files is not None:
        files = batch.column("file").dictionary_encode()
        wanted = np.array([fnmatchcase(file, choice.files) for file in files.dictionary.to_pylist()], bool)
        return wanted[as_numpy(files.indices, np.int32)]
    wanted = frozenset(choice.ids or ())
    return np.fromiter((value in wanted for value in batch.column("id").to_pylist()), bool, len(batch))
