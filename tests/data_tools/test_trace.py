"""A document is found by any of its names, reading little, and everything recorded of it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clapas.recipe.errors import UserError
from clapas_data import lookup
from clapas_data.documents import DOCUMENTS
from clapas_data.lookup import find
from clapas_data.trace import trace, trace_table
from commands import Clapas
from corpora import write_corpus


def test_a_real_document_is_traced_by_all_of_its_names(test_data: Path, clapas: Clapas, tmp_path: Path) -> None:
    """Its origin, steps, place and text; what this build did not record says so."""
    (document,) = trace(test_data, "train/fiches-travail-00000#0")
    for name in (document["id"], f"fiches-travail:{document['id']}"):
        assert trace(test_data, name) == [document]
    origin = document["origin"]
    assert (origin["licence"], origin["revision"]) == ("etalab-2.0 AND Apache-2.0", "4.1174.0")
    assert origin["origin"] == "npm @socialgouv/fiches-travail-data@4.1174.0"
    assert document["steps"][0]["name"] == "extract"
    assert len(document["text"]) == 500
    (full,) = trace(test_data, document["id"], full=True)
    assert len(full["text"].encode()) == document["bytes"]
    assert full["text"].startswith(document["text"])
    told = trace_table([document])
    assert "scores        not recorded" in told
    assert f"… {document['characters'] - 500:,} characters more (--full)" in told
    ended = clapas("data", "trace", document["id"], "--data", test_data, "--json", cwd=tmp_path)
    assert json.loads(ended.stdout) == json.loads(json.dumps([document]))
    with pytest.raises(UserError, match=r"no such document(.|\n)*--rejected"):
        trace(test_data, "nobody")


def test_origin_and_scores_are_columns(tmp_path: Path) -> None:
    """`file`, `place`, `url` and `hash` are where it is from; any other column is a score; hashes of any type."""
    write_corpus(tmp_path, {"law": [[3] * 40]})
    table = pq.read_table(tmp_path / DOCUMENTS)
    more = {
        "file": [f"part-{place % 3}.parquet" for place in range(40)],
        "place": list(range(40)),
        "url": [f"https://a.fr/{place}" for place in range(40)],
        "language_score": pa.array([place / 40 for place in range(40)], pa.float32()),
    }
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    hashes = {
        "00000000000000a7": pa.array([2**63 + place if place != 7 else 0xA7 for place in range(40)], pa.uint64()),
        "ffffffffffffffff": pa.array([place - 8 for place in range(40)], pa.int64()),
        "ab07": pa.array([f"ab{place:02}" for place in range(40)]),
    }
    document: dict[str, Any] = {}
    for name, column in hashes.items():
        pq.write_table(table.append_column("hash", column), tmp_path / DOCUMENTS, row_group_size=16)
        (document,) = trace(tmp_path, name)
        assert (document["document"], document["hash"]) == (7, name)
    assert trace(tmp_path, "https://a.fr/7") == [document]
    assert (document["file"], document["place"]) == ("part-1.parquet", 7)
    assert document["scores"] == {"language_score": pytest.approx(7 / 40)}
    assert document["text"] is None
    assert "file          part-1.parquet, at 7\n" in trace_table([document])


def test_only_what_may_match_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row group whole; of others at most the searched column."""
    manifest = write_corpus(tmp_path, {f"s{source}": [[3] * 160] for source in range(4)})
    read: list[tuple[int, Any]] = []

    class Counting(pq.ParquetFile):
        def read_row_group(self, i: int, *more: Any, **options: Any) -> Any:
            read.append((i, options.get("columns")))
            return super().read_row_group(i, *more, **options)

    monkeypatch.setattr(lookup.pq, "ParquetFile", Counting)
    (row,) = find(manifest, ["s2:s2:train/s2-00000:10"])["s2:s2:train/s2-00000:10"]
    assert (row["shard"], row["document"]) == ("train/s2-00000", 10)
    assert [group for group, columns in read if columns is None] == [20]
    assert len(read) <= 3
    read.clear()
    find(manifest, ["train/s2-00000#10"])
    assert {group for group, _ in read} <= set(range(20, 30))
