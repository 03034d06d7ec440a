"""Folders and named files: what is there, in one order; what is not is told."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from reading import documents, files, lines_of, texts

GOOD = b'{"text": "bon"}\n'


def test_folder(tmp_path: Path) -> None:
    """A folder of texts: one document a file, named by its path."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("deux")
    (tmp_path / "a.txt").write_text("\ufeffun")
    (tmp_path / "c.md").write_text("non")
    found = documents(Source(folder=tmp_path, licence="test"))
    assert [(document.id, document.text) for document in found] == [("a.txt", "un"), ("sub/b.txt", "deux")]


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


def test_files_of_any_kind_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts, plain and compressed, beside tables: each by its ending, in the order named, its page and place known."""
    (tmp_path / "a.txt").write_text("un")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"deux"))
    (tmp_path / "c.jsonl").write_text(
        '{"text": "trois", "url": "https://a.fr"}\n{"text": "quatre", "u": "https://b.fr"}\n'
    )
    found = documents(files(tmp_path / "*"))
    assert [(d.id, d.text, d.url, d.place) for d in found] == [
        ("a.txt", "un", "", 0),
        ("b.txt.gz", "deux", "", 0),
        ("https://a.fr", "trois", "https://a.fr", 0),
        ("c.jsonl@41", "quatre", "", 41),
    ]
    found = documents(files(tmp_path / "c.jsonl", url_field="u"))
    assert [d.url for d in found] == ["", "https://b.fr"]
    assert capsys.readouterr().err == ""
    assert [d.url for d in documents(files(tmp_path / "c.jsonl", url_field="uu"))] == ["", ""]
    assert "c.jsonl: none of 2 lines has 'uu', which `url_field` names" in capsys.readouterr().err
    assert [d.text for d in documents(Source(folder=tmp_path, pattern="*", licence="test"))] == [
        "un", "deux", "trois", "quatre",
    ]  # fmt: skip


def test_mixed_encodings_are_told_as_such(tmp_path: Path) -> None:
    """Converting the whole file would spoil its first half: the message says where the other encoding begins."""
    data = "l'été\n".encode() + "l'été\n".encode("latin-1")
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "' + data.replace(b"\n", b" ") + b'"}\n')
    with pytest.raises(UserError, match=r"a\.txt:2: mixed encodings(.|\n)*0xe9 at offset 10"):
        texts(Source(folder=tmp_path, licence="test"))
    with pytest.raises(UserError, match=r"a\.jsonl:1: mixed encodings(.|\n)*0xe9 at byte 20"):
        texts(files(tmp_path / "a.jsonl"))
