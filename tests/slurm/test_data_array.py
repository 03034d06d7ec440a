"""`clapas data build --slurm` on a real Slurm: arrays of two virtual nodes, one element of which is killed."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clapas_data.build import build
from clapas_data.manifest import open_manifest

from .lab import Lab

SITE = Path(__file__).with_name("lab.yaml")
ASKED = ("--slurm", SITE, "--account", "clapas@lab", "--tasks", 4)
PATIENCE = 150.0
LARGE = 40
"""The first part's documents are so many times those of another: it is still read when it is killed."""


def write_corpus(folder: Path) -> Path:
    """A corpus of two sources in six files, the first of which takes some seconds to read."""
    draw = random.Random(7)
    words = ["".join(draw.choices("aàbcçdeéêilmnoœprstu'v", k=draw.randint(2, 9))) for _ in range(3000)]
    facts = {"name": "lab", "sources": {}, "held_out": [{"fraction": 0.1}], "decontaminate": None}
    for source in "ab":
        for part in range(3):
            count = 300 * (LARGE if (source, part) == ("a", 0) else 1)
            texts = (" ".join(draw.choices(words, k=120)) + "." for _ in range(count))
            lines = [
                json.dumps({"id": str(number), "text": text}, ensure_ascii=False) for number, text in enumerate(texts)
            ]
            (folder / f"{source}{part}.jsonl").write_text("\n".join(lines) + "\n")
        facts["sources"][source] = {"files": [f"{source}{part}.jsonl" for part in range(3)], "licence": "test"}
    path = folder / "lab.yaml"
    path.write_text(json.dumps(facts))
    return path


def wait_for(condition: Callable[[], object], what: Callable[[], str]) -> None:
    """Until it holds; fails with what is to say then."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_element_costs_its_own_work_alone(
    slurm: Lab, test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed amid its part, it ends the chain; what others did stays; submitted again, the data are a local build's."""
    corpus, out, cache = write_corpus(tmp_path), tmp_path / "out", tmp_path / "cache"
    slurm.environment["CLAPAS_CACHE"] = str(cache)
    command = ("data", "build", corpus, "--out", out, "--tokenizer", test_data / "tokenizer", *ASKED)

    def queued() -> str:
        return slurm("squeue", "-h", "-r", "-o", "%i %j %T", cwd=tmp_path).stdout

    def told() -> str:
        return slurm.clapas("data", "status", out, cwd=tmp_path).stdout + queued()

    result = slurm.clapas(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    jobs = result.stdout.split()
    assert len(jobs) >= 4  # read, the choice, encode, seal
    wait_for(lambda: [*cache.glob("prepared/a-*/.00000.arrow.partial-node*")], told)
    slurm("scancel", "--signal=STOP", "--full", f"{jobs[0]}_0", cwd=tmp_path)  # it is at work for a second or two alone
    again = slurm.clapas(*command, cwd=tmp_path)
    assert (again.returncode, "in the queue already" in again.stderr) == (2, True)
    slurm("scancel", "--signal=KILL", "--full", f"{jobs[0]}_0", cwd=tmp_path)
    wait_for(lambda: not queued(), told)
    assert not (out / "manifest.json").exists()
    done = {path: path.stat().st_mtime_ns for path in cache.glob("prepared/[ab]-*/*.json") if path.stem.isdigit()}
    assert len(done) >= 4  # one element's share is two parts at most
    assert f"read                 {len(done)} of 6 done" in told()

    result = slurm.clapas(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    wait_for((out / "manifest.json").exists, told)
    wait_for(lambda: not queued(), told)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert slurm.clapas(*command, cwd=tmp_path).stdout == ""
    monkeypatch.setenv("CLAPAS_CACHE", str(tmp_path / "other"))
    local = build(corpus, tmp_path / "local", test_data / "tokenizer", workers=2)
    assert open_manifest(out).hash == local.hash
    assert (out / "documents.parquet").read_bytes() == (tmp_path / "local/documents.parquet").read_bytes()
