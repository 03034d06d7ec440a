"""The text of documents without the lines that earlier documents keep, where a corpus asks for that."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from clapas_data.arrow import fixed_binary, numbers, strings
from clapas_data.deduplicate.lines import LineFilter
from clapas_data.deduplicate.plan import read_plan
from clapas_data.text.hash import HASH_BYTES, text_hash
from clapas_data.work import Work


def without_lines(work: Work, rows: pa.RecordBatch, documents: np.ndarray) -> pa.RecordBatch:
    """Documents with the text that is left of them, and with its bytes and hash, of these columns those that they have.

    documents: their numbers in the corpus. The same rows where lines are not deduplicated.
    """
    lines = _line_filter(work.folder)
    if lines is None or "text" not in rows.schema.names:
        return rows
    texts = [text.encode() for text in lines.strip(rows.column("text").to_pylist(), documents)]
    made = {"text": strings(texts)}
    if "bytes" in rows.schema.names:
        made["bytes"] = numbers(np.fromiter(map(len, texts), np.int64, len(texts)))
    if "hash" in rows.schema.names:
        made["hash"] = fixed_binary(b"".join(map(text_hash, texts)), HASH_BYTES)
    for name, column in made.items():
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    return rows


@lru_cache(maxsize=2)
def _line_filter(folder: Path) -> LineFilter | None:
    return LineFilter.open(read_plan(folder))
