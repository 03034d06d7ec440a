"""JSONL: every line once, however the file is cut; every bad line with its place."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources import Part, jsonl, read_part, source_parts
from reading import documents, files, lines_of, texts


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
    (tmp_path / "a.jsonl.bz2").write_bytes(bz2.compress(data))
    (tmp_path / "a.jsonl.xz").write_bytes(lzma.compress(data))
    zst = pa.compress(data, codec="zstd", asbytes=True)
    (tmp_path / "a.jsonl.zst").write_bytes(zst + zst)
    assert texts(files(tmp_path / "a.jsonl")) == texts(files(tmp_path / "a.jsonl.gz")) == values
    assert texts(files(tmp_path / "a.jsonl.bz2", tmp_path / "a.jsonl.xz")) == values * 2
    assert texts(files(tmp_path / "a.jsonl.zst")) == values * 2


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


def test_a_long_line_is_a_document(tmp_path: Path) -> None:
    """A single line of 50 MB reads whole, and by one part only."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines_of(["mot " * 12_500_000]))
    parts = source_parts("made", files(path))
    assert len(parts) > 1
    assert [len(document.text) for part in parts for document in read_part(part)] == [50_000_000]


def test_only_some_rows(tmp_path: Path) -> None:
    """Those whose fields are what `only` says; the others are not counted, whatever else they lack."""
    path = tmp_path / "a.jsonl"
    rows = [{"language": "French", "text": "un", "n": 1}, {"language": "English", "n": 1}, {"text": "trois"}]
    path.write_text("".join(json.dumps({"text": "", **row}) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"a\.jsonl:3: no field 'language'(.|\n)*set `only:`"):
        texts(files(path, only={"language": "French"}))
    path.write_text("".join(json.dumps({"text": "", **row}) + "\n" for row in rows[:2]))
    assert texts(files(path, only={"language": "French", "n": "1"})) == ["un"]
