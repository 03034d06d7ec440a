"""Data sets as `datasets` gives them: whole, or streamed file by file."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources import hub, read_part, source_parts
from reading import documents, lines_of, texts


def test_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set as `datasets` loads it, here from a local folder."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(lines_of(["un", "deux"]))
    assert texts(Source(datasets=str(folder), licence="test")) == ["un", "deux"]
    (folder / "train.jsonl").write_bytes(lines_of(["un", "deux", "trois"]))
    assert texts(Source(datasets=str(folder), licence="test")) == ["un", "deux", "trois"], "one process, other files"


def test_a_data_set_streams_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each data file is a part, which any process reads alone; a document's place is its row in that file."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "set" / "fra_Latn").mkdir(parents=True)
    for number in range(3):
        rows = {"text": [f"{number}/{row}" for row in range(4)], "url": [f"https://a.fr/{row}" for row in range(4)]}
        pq.write_table(pa.table(rows), tmp_path / "set" / "fra_Latn" / f"train-{number:05}.parquet")
    source = Source(datasets=str(tmp_path / "set"), streaming=True, licence="test")
    parts = source_parts("made", source)
    assert len(parts) == 3
    for number, part in reversed(list(enumerate(parts))):
        found = list(read_part(part))
        assert [d.text for d in found] == [f"{number}/{row}" for row in range(4)]
        assert [(d.place, d.url) for d in found] == [(row, f"https://a.fr/{row}") for row in range(4)]
        assert all(d.file.endswith(f"set/train-{number:05}") for d in found)
    one = source.model_copy(update={"pattern": "fra_Latn/*-00002.parquet", "only": {"text": "2/1"}})
    assert [(d.text, d.place) for d in documents(one)] == [("2/1", 1)]
    with pytest.raises(UserError, match=r"no column 'body'(.|\n)*text, url"):
        source_parts("made", source.model_copy(update={"text": "body"}))
    (tmp_path / "set" / "fra_Latn" / "train-00001.parquet").write_bytes(b"PAR1 no such thing")
    hub._load_split.cache_clear()
    with pytest.raises(UserError, match="could not load"):
        documents(source)


def test_data_sets_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `datasets` installed, the message says what to install."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    hub._load_split.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'clapas\[datasets\]'"):
        texts(Source(datasets="owner/name", revision="0" * 40, licence="test"))
