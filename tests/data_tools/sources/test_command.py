"""Through the command line and a worker: overrides are taken; bad input is one message, nothing half written."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

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
