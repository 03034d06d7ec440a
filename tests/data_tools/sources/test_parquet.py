"""Parquet: rows by row groups; a missing column is told before anything is read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clapas.recipe.errors import UserError
from clapas_data.sources import parquet, source_parts
from reading import documents, files, texts


def test_parquet(tmp_path: Path) -> None:
    """Rows of a Parquet file, row group by row group, with their ids."""
    table = pa.table({"id": ["a", "b", "c"], "text": ["un", None, "trois"], "score": [1.0, 2.0, 3.0]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    found = documents(files(tmp_path / "*.parquet"))
    assert [(document.id, document.text) for document in found] == [("a", "un"), ("b", ""), ("c", "trois")]


def test_rows_without_an_id_have_their_number_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever row group they are in."""
    monkeypatch.setattr(parquet, "PART_BYTES", 1)
    pq.write_table(pa.table({"text": ["un", "deux", "trois"]}), tmp_path / "a.parquet", row_group_size=1)
    assert [document.id for document in documents(files(tmp_path / "a.parquet"))] == [
        f"a.parquet#{n}" for n in range(3)
    ]


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    """A Parquet file whose end is sound opens; a page that was altered is the file's fault, and told so."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"texte numéro {n}" for n in range(1000)]}), path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[40:80] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.parquet: a damaged Parquet file"):
        texts(files(path))


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_missing_id_is_named(tmp_path: Path, name: str) -> None:
    """A misspelt `id` would silently number the documents: refused, with the fields that there are."""
    (tmp_path / "a.jsonl").write_text('{"cid": 1, "text": "un"}\n')
    pq.write_table(pa.table({"cid": [1], "text": ["un"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="'idd'") as error:
        texts(files(tmp_path / name).model_copy(update={"id": "idd"}))
    assert "cid, text" in str(error.value)
    assert "set `id:`" in str(error.value)


def test_a_column_missing_in_a_later_file_is_told_first(tmp_path: Path) -> None:
    """Before anything of the files before it is read, with the file and what it has instead."""
    pq.write_table(pa.table({"text": ["un"], "url": ["https://a.fr"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"texte": ["deux"], "url": ["https://b.fr"]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: no column 'text'(.|\n)*texte, url(.|\n)*set `text:`"):
        source_parts("made", files(tmp_path / "*.parquet"))
    with pytest.raises(UserError, match=r"a\.parquet: no column 'adresse'(.|\n)*set `url_field:`"):
        source_parts("made", files(tmp_path / "*.parquet", url_field="adresse"))
    (found,) = documents(files(tmp_path / "a.parquet"))
    assert (found.id, found.url, found.place) == ("https://a.fr", "https://a.fr", 0)


def test_text_that_is_not_utf8_is_placed(tmp_path: Path) -> None:
    """Arrow does not check what it is given: the row is named."""
    column = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"soir\xe9e"]).buffers())
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet#1: not UTF-8 text(.|\n)*0xe9 at byte 4"):
        documents(files(tmp_path / "a.parquet"))
