"""Through the command line and a worker: overrides are taken; bad input is one message, nothing half written."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from clapas_data.manifest import open_manifest
from commands import Clapas

TEXT = "Un texte assez long pour que le tokenizer ait de quoi faire, et rien de plus."


def test_an_archive_by_override(
    tmp_path: Path, jsonl_corpus: Callable[..., Path], test_data: Path, clapas: Clapas
) -> None:
    """The corpus file says JSONL, the command line an archive instead: damaged, then sound."""
    path, archive = jsonl_corpus(a=[TEXT]), tmp_path / "b.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for number in range(3):
            member = tarfile.TarInfo(f"../{number}.txt")
            data = f"{TEXT} {number}".encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    sound = archive.read_bytes()
    command = ("data", "build", path, "sources.a.files=b.tar.gz", "--out", tmp_path / "out")
    options = ("--tokenizer", test_data / "tokenizer", "sources.a.licence=CC-BY-NC-4.0")
    archive.write_bytes(sound[: len(sound) // 2])
    run = clapas(*command, *options, cwd=tmp_path)
    assert run.returncode == 2
    assert "b.tar.gz: not a sound compressed file" in run.stderr
    assert "Traceback" not in run.stderr
    assert not [*tmp_path.rglob("*partial*")]
    archive.write_bytes(sound)
    run = clapas(*command, *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "warning: source a: non-commercial" in run.stderr
    manifest = open_manifest(tmp_path / "out")
    assert sum(shard.documents for shard in manifest.shards) == 3
    assert manifest.sources["a"].licence == "CC-BY-NC-4.0"


def test_a_table_without_addresses(tmp_path: Path, fresh_cache: Path, test_data: Path, clapas: Clapas) -> None:
    """A worker reads the plan that was written down: what its source does not say stays unsaid there."""
    del fresh_cache
    pq.write_table(pa.table({"content": [f"{TEXT} {n}" for n in range(3)]}), tmp_path / "a.parquet")
    source = {"files": "a.parquet", "text": "content", "licence": "test"}
    (tmp_path / "made.yaml").write_text(json.dumps({"name": "made", "sources": {"a": source}}))
    command = ("data", "build", "made.yaml", "--out", "out", "--tokenizer", test_data / "tokenizer", "--workers", "2")
    run = clapas(*command, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert sum(shard.documents for shard in open_manifest(tmp_path / "out").shards) == 3
    run = clapas(*command, "sources.a.url_field=url", "--out", "other", cwd=tmp_path)
    assert run.returncode == 2
    assert "a.parquet: no column 'url'" in run.stderr
