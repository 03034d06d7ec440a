"""Elements of job arrays, without a queue: shares make the whole, failures are kept, signals leave no half file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clapas.launch.data_status import data_status, data_status_table
from clapas_data import element
from clapas_data.build import build, build_stages, open_build, ordered, plan_build
from clapas_data.manifest import open_manifest


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers of signals, put back."""
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_elements_make_what_one_build_makes(
    tmp_path: Path, fresh_cache: Path, test_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every stage two elements, the second first; one fails until its file is there again."""
    sources = {}
    for name in "ab":
        lines = [json.dumps({"text": f"Le texte {name} numéro {number}, assez long."}) for number in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        sources[name] = {"files": f"{name}.jsonl", "licence": "MIT"}
    corpus = tmp_path / "made.yaml"
    corpus.write_text(json.dumps({"name": "made", "sources": sources, "held_out": [{"fraction": 0.2}]}))
    out = tmp_path / "out"
    with ordered(corpus, out, test_data / "tokenizer") as order:
        folder = plan_build(order)
    assert folder is not None
    (tmp_path / "a.jsonl").rename(tmp_path / "away")
    words = ["--out", str(out), "--stages", "read", "--elements", "2", "--element"]
    assert element.main([*words, "1"]) == 0
    assert element.main([*words, "0"]) == 2
    (failure,) = data_status(out)["failed"]
    assert failure["element"] == "read-0"
    told = data_status_table(data_status(out))
    assert "read                 1 of 2 done" in told
    assert "a.jsonl: vanished while the source was read" in told
    (tmp_path / "away").rename(tmp_path / "a.jsonl")
    for stage in build_stages(open_build(out), order.corpus):
        for number in ("1", "0"):
            words[3] = stage.name
            assert element.main([*words, number]) == 0
    assert open_manifest(out).hash == data_status(out)["built"]
    assert element.main([*words, "0"]) == 0  # requeued after the end
    monkeypatch.setenv("CLAPAS_CACHE", str(tmp_path / "other"))
    assert build(corpus, tmp_path / "local", test_data / "tokenizer", workers=1).hash == open_manifest(out).hash


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_leaves_no_half_file(tmp_path: Path, number: signal.Signals) -> None:
    """Neither that of a preemption nor that of `clapas cancel`."""
    program = f"""
import os, sys
from pathlib import Path
from clapas_data import element
from clapas_data.files import new_file
def work(*_):
    with new_file(Path("whole")) as partial:
        partial.write_text("half")
        os.kill(os.getpid(), {int(number)})
        raise AssertionError
element.open_build, element.run_element = lambda out: type("Build", (), {{"own": out}}), work
sys.exit(element.main(["--out", ".", "--stages", "read"]))
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=dict(os.environ), check=False)
    assert ended.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []
