"""A document of a gigabyte is left out, counted and told, whatever it lies in, and memory stays bounded."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clapas_data.sources import parquet
from clapas_data.sources.limits import LARGEST_DOCUMENT
from reading import documents, files

MEMORY = 400 * 2**20
"""Bytes; measured 253 MB for 0.3 and for 1 GB alike: twice the limit of a document, and the interpreter with Arrow."""

READ = """
import json, sys
from pathlib import Path
from reading import documents, files
for path in sys.argv[1:]:
    found = documents(files(path))
    print(json.dumps([[d.id, d.text] for d in found]))
# not ru_maxrss, which begins with the memory of the process that started this one
print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024)
"""


@pytest.mark.parametrize("size", [3 * LARGEST_DOCUMENT, pytest.param(2**30, marks=pytest.mark.slow)])
def test_a_document_of_a_gigabyte(tmp_path: Path, size: int) -> None:
    """In JSONL, as a file and in a tar, beside small ones, which are read. The files are holes: nothing is written."""
    size -= size % 512
    line = json.dumps({"text": "petit"}).encode() + b"\n"
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.seek(size)
        file.write(b"\n" + line)
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(size)
    with (tmp_path / "a.tar").open("wb") as file:
        for name, length in (("grand.txt", size), ("petit.txt", 512)):
            info = tarfile.TarInfo(name)
            info.size = length
            file.write(info.tobuf())
            file.seek(length, 1)
        file.seek(-512, 1)
        file.write(b"petit".ljust(512) + bytes(1024))
    paths = [str(tmp_path / name) for name in ("a.jsonl", "a.txt", "a.tar")]
    run = subprocess.run([sys.executable, "-c", READ, *paths], capture_output=True, text=True, check=True,
                         env={"PYTHONPATH": ":".join(sys.path), "PATH": ""})  # fmt: skip
    *found, peak = run.stdout.splitlines()
    assert json.loads(found[0]) == [["a.jsonl@0", ""], [f"a.jsonl@{size + 1}", "petit"]]
    assert json.loads(found[1]) == [["a.txt", ""]]
    assert json.loads(found[2]) == [["a.tar/grand.txt", ""], ["a.tar/petit.txt", "petit".ljust(512)]]
    assert run.stderr.count("left out (over 100,000,000)") == 3
    for name in ("a.jsonl:1", "a.txt", "a.tar/grand.txt"):
        assert f"{tmp_path}/{name}: a document" in run.stderr
    assert int(peak) < MEMORY


def test_a_large_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A row of Parquet that is too large never becomes Python's; those beside it are read."""
    monkeypatch.setattr(parquet, "LARGEST_DOCUMENT", 1000)
    pq.write_table(pa.table({"text": ["un", "x" * 1001, "trois", None]}), tmp_path / "a.parquet")
    found = documents(files(tmp_path / "a.parquet"))
    assert [(d.text, d.place) for d in found] == [("un", 0), ("", 1), ("trois", 2), ("", 3)]
    assert f"{tmp_path}/a.parquet#1: a document of 1,001 bytes is left out" in capsys.readouterr().err
