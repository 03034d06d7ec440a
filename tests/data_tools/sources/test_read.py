"""Sources: every document once, in one order, however the source is cut; every bad input with its place."""

from __future__ import annotations

import gzip
import io
import json
import sys
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources import Part, RawDocument, hub, jsonl, parquet, read_part, source_identity, source_parts


def documents(source: Source) -> list[RawDocument]:
    """All documents of a source, part after part."""
    return [document for part in source_parts("made", source) for document in read_part(part)]


def texts(source: Source) -> list[str]:
    return [document.text for document in documents(source)]


def files(path: Path | str) -> Source:
    return Source(files=(str(path),), licence="test")


def lines_of(values: list[str]) -> bytes:
    return b"".join(json.dumps({"text": value}, ensure_ascii=False).encode() + b"\n" for value in values)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1), st.integers(1, 50), st.booleans())
def test_any_cut_reads_every_line_once(tmp_path: Path, values: list[str], step: int, newline: bool) -> None:
    """Byte ranges share out the lines: each is read by exactly one, and named by the byte that it begins at."""
    data = lines_of(values)
    path = tmp_path / "made.jsonl"
    path.write_bytes(data if newline else data[:-1])
    found = []
    jsonl._first_line.cache_clear()
    for start in range(0, len(data), step):
        found += list(read_part(Part(files(path), (str(path),), start, min(start + step, len(data)))))
    assert [document.text for document in found] == values
    starts = accumulate((len(line) for line in data.splitlines(keepends=True)[:-1]), initial=0)
    assert [document.id for document in found] == [f"made.jsonl@{start}" for start in starts]
    assert sum(document.bytes_read for document in found) == path.stat().st_size


def test_compressed_and_plain_are_the_same(tmp_path: Path) -> None:
    """.jsonl, .gz and .zst hold the same documents; several .zst frames too."""
    values = ["un", "deux", "trois"]
    data = lines_of(values)
    (tmp_path / "a.jsonl").write_bytes(data)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data))
    zst = pa.compress(data, codec="zstd", asbytes=True)
    (tmp_path / "a.jsonl.zst").write_bytes(zst + zst)
    assert texts(files(tmp_path / "a.jsonl")) == texts(files(tmp_path / "a.jsonl.gz")) == values
    assert texts(files(tmp_path / "a.jsonl.zst")) == values * 2


def test_parquet(tmp_path: Path) -> None:
    """Rows of a Parquet file, row group by row group, with their ids."""
    table = pa.table({"id": ["a", "b", "c"], "text": ["un", None, "trois"], "score": [1.0, 2.0, 3.0]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    found = documents(files(tmp_path / "*.parquet"))
    assert [(document.id, document.text) for document in found] == [("a", "un"), ("b", ""), ("c", "trois")]


def test_folder(tmp_path: Path) -> None:
    """A folder of texts: one document a file, named by its path."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("deux")
    (tmp_path / "a.txt").write_text("\ufeffun")
    (tmp_path / "c.md").write_text("non")
    found = documents(Source(folder=tmp_path, licence="test"))
    assert [(document.id, document.text) for document in found] == [("a.txt", "un"), ("sub/b.txt", "deux")]


def test_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set as `datasets` loads it, here from a local folder."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(lines_of(["un", "deux"]))
    assert texts(Source(datasets=str(folder), licence="test")) == ["un", "deux"]


def test_fields_by_name(tmp_path: Path) -> None:
    """`text` and `id` name the fields; HTML fields are extracted."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "<p>un</p>deux", "key": 7}\n\n')
    (found,) = documents(Source(files=(str(path),), text="body", id="key", extract="html", licence="test"))
    assert (found.id, found.text) == ("7", "un\ndeux")


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """Some editors put one before the first line: plain, compressed, or with nothing else on that line."""
    data = lines_of(["un", "deux"])
    (tmp_path / "a.jsonl").write_bytes(jsonl.BOM + data)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(jsonl.BOM + data))
    (tmp_path / "b.jsonl").write_bytes(jsonl.BOM + b"\n" + data)
    for name in ("a.jsonl", "a.jsonl.gz", "b.jsonl"):
        assert texts(files(tmp_path / name)) == ["un", "deux"]


def test_a_range_within_a_longer_line_reads_no_further() -> None:
    """So a file of one line is read once, not once a range."""
    file = io.BytesIO(b'"' + b"a" * 1000 + b'"\n')
    assert list(jsonl._lines_of_range(file, 100, 200)) == []
    assert file.tell() == 200


def test_ids_tell_files_of_one_name_apart(tmp_path: Path) -> None:
    """They begin with the path from the folder of all the source's files, the same on any machine."""
    for folder in ("2023", "2024"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jsonl").write_bytes(lines_of([folder]))
    found = documents(files(tmp_path / "*" / "a.jsonl"))
    assert [document.id for document in found] == ["2023/a.jsonl@0", "2024/a.jsonl@0"]


def test_rows_without_an_id_have_their_number_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever row group they are in."""
    monkeypatch.setattr(parquet, "PART_BYTES", 1)
    pq.write_table(pa.table({"text": ["un", "deux", "trois"]}), tmp_path / "a.parquet", row_group_size=1)
    assert [document.id for document in documents(files(tmp_path / "a.parquet"))] == [
        f"a.parquet#{n}" for n in range(3)
    ]


GOOD = b'{"text": "bon"}\n'
BAD = {
    "not UTF-8 text": b'{"text": "soir\xe9e"}\n',
    "a NUL byte": b'{"text": "a\0b"}\n',
    "not JSON": b"ceci n'est pas du JSON\n",
    "not a JSON object": b"[1]\n",
    "no field 'text'": b'{"body": "x"}\n',
    "is not text": b'{"text": 3}\n',
}


@pytest.mark.parametrize("message", BAD)
def test_bad_lines_are_placed(message: str, tmp_path: Path) -> None:
    """Whatever is wrong with a line, one message names the file and the line, in any part of the file."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD * 3 + BAD[message] + GOOD)
    for start in (0, len(GOOD) * 2):
        with pytest.raises(UserError, match=rf"a\.jsonl:4: .*{message}"):
            list(read_part(Part(files(path), (str(path),), start, path.stat().st_size)))


def test_bad_files_are_named(tmp_path: Path) -> None:
    """Damaged containers, missing files and unknown kinds, each by name."""
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines_of(["un"] * 100))[:-20])
    (tmp_path / "a.jsonl.zst").write_bytes(b"no such thing")
    (tmp_path / "b.jsonl.zst").write_bytes(pa.compress(lines_of(["un"] * 100), codec="zstd", asbytes=True)[:-9])
    (tmp_path / "a.parquet").write_bytes(b"no such thing")
    (tmp_path / "a.docx").write_bytes(b"")
    for name in ("a.jsonl.gz", "a.jsonl.zst", "b.jsonl.zst", "a.parquet", "a.docx", "none.jsonl"):
        with pytest.raises(UserError, match=name):
            texts(files(tmp_path / name))
    with pytest.raises(UserError, match="no such folder"):
        texts(Source(folder=tmp_path / "none", licence="test"))
    with pytest.raises(UserError, match=r"no file matches \*\*/\*\.txt"):
        texts(Source(folder=tmp_path, licence="test"))


def test_a_folder_among_files_is_passed_over(tmp_path: Path) -> None:
    """Spark and others name folders `x.parquet`; alone, one is told how folders are read."""
    (tmp_path / "a.jsonl").mkdir()
    (tmp_path / "b.jsonl").write_bytes(GOOD)
    assert texts(files(tmp_path / "*.jsonl")) == ["bon"]
    with pytest.raises(UserError, match=r"a\.jsonl: source made: no such file\n.*files: FOLDER/\*"):
        texts(files(tmp_path / "a.jsonl"))


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    """Where a file of that very name is there."""
    (tmp_path / "a[1].jsonl").write_bytes(GOOD)
    assert texts(files(tmp_path / "a[1].jsonl")) == ["bon"]


@pytest.mark.parametrize("pattern", ["/etc/*", "**x"])
def test_an_impossible_pattern_is_told(tmp_path: Path, pattern: str) -> None:
    """With one that is possible. (Python 3.13 takes `**x`, which then matches nothing.)"""
    with pytest.raises(UserError, match=r"not a pattern|no file matches"):
        texts(Source(folder=tmp_path, pattern=pattern, licence="test"))


@pytest.mark.parametrize("kind", ["folder", "files"])
def test_a_file_name_that_is_not_utf8_is_told(tmp_path: Path, kind: str) -> None:
    """Old archives hold Latin-1 names, which neither Arrow nor a manifest can."""
    (tmp_path / "caf\udce9.jsonl").write_bytes(GOOD)
    source = Source(folder=tmp_path, pattern="*", licence="test") if kind == "folder" else files(tmp_path / "*")
    with pytest.raises(UserError, match="a file name that is not UTF-8"):
        texts(source)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_told_as_such(tmp_path: Path, encoding: str) -> None:
    """As Windows's tools write it, with its mark: JSONL and plain texts."""
    data = ("\ufeff" + GOOD.decode()).encode(encoding)
    (tmp_path / "a.jsonl").write_bytes(data)
    (tmp_path / "a.txt").write_bytes(data)
    for source in (files(tmp_path / "a.jsonl"), Source(folder=tmp_path, licence="test")):
        with pytest.raises(UserError, match=r"not UTF-8 text(.|\n)*iconv -f UTF-16 -t UTF-8"):
            texts(source)


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


def test_a_long_line_is_a_document(tmp_path: Path) -> None:
    """A single line of 50 MB reads whole, and by one part only."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines_of(["mot " * 12_500_000]))
    parts = source_parts("made", files(path))
    assert len(parts) > 1
    assert [len(document.text) for part in parts for document in read_part(part)] == [50_000_000]


def test_identity_follows_content(tmp_path: Path) -> None:
    """A changed file is another source; licence and weight are not of the text."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD)
    before = source_identity("a", files(path))
    assert source_identity("b", files(path).model_copy(update={"licence": "other", "weight": 2.0})) == before
    path.write_bytes(GOOD * 2)
    assert source_identity("a", files(path)) != before


def test_data_sets_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `datasets` installed, the message says what to install."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    hub._load_split.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'clapas\[datasets\]'"):
        texts(Source(datasets="owner/name", revision="0" * 40, licence="test"))
