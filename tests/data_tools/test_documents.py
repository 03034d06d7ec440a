"""documents.parquet: documents are found by place, reading only the row groups that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from clapas_data import documents
from clapas_data.documents import DOCUMENTS, find_documents
from corpora import write_corpus


def test_documents_are_found_by_shard_and_first_token(tmp_path: Path) -> None:
    """Across shards and row groups; what is not there is left out."""
    write_corpus(tmp_path, {"law": [[3] * 50, [2] * 40], "web": [[7] * 30]})
    wanted = {"train/law-00000": [0, 147, 146], "train/web-00000": [70], "train/none": [0]}
    found = find_documents(tmp_path / DOCUMENTS, wanted)
    assert {place: row["document"] for place, row in found.items()} == {
        ("train/law-00000", 0): 0,
        ("train/law-00000", 147): 49,
        ("train/web-00000", 70): 10,
    }
    assert found["train/web-00000", 70]["id"] == "web:train/web-00000:10"


def test_only_the_row_groups_that_may_hold_them_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics decide: one document of 640 costs one row group of 40."""
    write_corpus(tmp_path, {f"s{source}": [[3] * 160] for source in range(4)})
    read: list[int] = []

    class Counting(pq.ParquetFile):
        def read_row_group(self, i: int, *more: Any, **options: Any) -> Any:
            read.append(i)
            return super().read_row_group(i, *more, **options)

    monkeypatch.setattr(documents.pq, "ParquetFile", Counting)
    find_documents(tmp_path / DOCUMENTS, {"train/s2-00000": [30]})
    assert set(read) == {20}
