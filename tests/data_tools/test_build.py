"""Building shards: what comes out depends on corpus and tokenizer alone; an interruption costs time only."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from clapas.recipe.errors import UserError
from clapas_data.build import build, build_stages, ordered, plan_build
from clapas_data.inspect import inspect, inspect_table
from clapas_data.local import run_stages
from clapas_data.manifest import Manifest, open_manifest
from clapas_data.shards import TokenShard
from clapas_data.tokenizer.train import train
from clapas_data.verify import verify
from clapas_data.workers import Workers

Corpus = Callable[..., Path]


@pytest.fixture(scope="session")
def tokenizer(test_data: Path) -> Path:
    """The test corpus's tokenizer, 2,048 ids."""
    return test_data / "tokenizer"


def documents(manifest: Manifest, split: str) -> list[str]:
    """The texts of a split, decoded from its tokens."""
    stock = Tokenizer.from_file(str(manifest.folder / "tokenizer" / "tokenizer.json"))
    assert manifest.tokenizer is not None
    found = []
    for place in manifest.of_split(split):
        record = manifest.shards[place]
        tokens = TokenShard(manifest.folder, record).read(0, record.tokens)
        ends = np.flatnonzero(tokens == manifest.tokenizer.eos) + 1
        found += [stock.decode(one[:-1].tolist(), skip_special_tokens=False) for one in np.split(tokens, ends)[:-1]]
    return found


def content(folder: Path) -> dict[str, bytes]:
    """All files of a build, but for the seconds in its manifest."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    found = {name: path.read_bytes() for name, path in files.items()}
    manifest = json.loads(found["manifest.json"])
    for step in manifest["steps"]:
        step["seconds"] = 0
    return {**found, "manifest.json": json.dumps(manifest).encode()}


def test_shards_hold_the_corpus(test_data: Path, guides: list[str]) -> None:
    """Tokens decode to the guides, each once; text and documents table agree; every byte verifies."""
    manifest = open_manifest(test_data)
    verify(test_data).raise_for_damage()
    train, held_out = documents(manifest, "train"), documents(manifest, "heldout")
    assert len(set(train)) == len(train)
    assert not set(train) & set(held_out)
    assert set(train) | set(held_out) <= set(guides)
    assert len(train) + len(held_out) > 240
    for split, texts in (("train", train), ("heldout", held_out)):
        assert manifest.text_bytes(split) == sum(len(text.encode()) for text in texts)
    rows = pq.read_table(test_data / "documents.parquet").to_pylist()
    assert [row["bytes"] for row in rows] == [len(text.encode()) for text in train + held_out]
    assert all(row["id"].startswith("https://travail-emploi.gouv.fr/") for row in rows)
    assert all(row["offset"] == 0 for row in rows if row["document"] == 0)


def test_nothing_close_to_held_out_text_is_trained_on(test_data: Path) -> None:
    """No training document shares 30 % of its word 5-grams with the held-out ones, counted by definition."""
    manifest = open_manifest(test_data)

    def grams(text: str) -> list[tuple[str, ...]]:
        import re

        words = re.findall(r"\w+", text.lower())
        return [tuple(words[place : place + 5]) for place in range(len(words) - 4)]

    known = {gram for text in documents(manifest, "heldout") for gram in grams(text)}
    shares = [sum(gram in known for gram in own) / len(own) for own in map(grams, documents(manifest, "train")) if own]
    assert max(shares) < 0.3
    assert max(shares) > 0


def test_steps_count_what_they_leave_out(
    tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]
) -> None:
    """Duplicates, empty documents, held-out ones and near-copies of them, each under its step."""
    held, other = guides[0], guides[1]
    near = held[: len(held) // 2]
    path = jsonl_corpus(
        a=[other, other + " ", "  ", near, "Bonjour à tous."],
        b=[held, other],
        held_out=[{"source": "b", "ids": ["b/0"]}],
    )
    manifest = build(path, tmp_path / "out", tokenizer=tokenizer, workers=1)
    counts = {step.name: (step.documents_in, step.documents_out) for step in manifest.steps}
    assert counts == {
        "extract": (7, 7),
        "clean": (7, 6),
        "deduplicate": (6, 4),
        "hold out": (4, 3),
        "decontaminate": (3, 2),
        "tokenize": (3, 3),
    }
    assert documents(manifest, "train") == [other, "Bonjour à tous."]
    assert documents(manifest, "heldout") == [held]


def test_workers_change_nothing(tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]) -> None:
    """One process or two, prepared anew: the same bytes."""
    path = jsonl_corpus(a=guides[:40], b=guides[30:60], held_out=[{"fraction": 0.2}])
    build(path, tmp_path / "one", tokenizer=tokenizer, workers=1)
    os.environ["CLAPAS_CACHE"] = str(tmp_path / "other-cache")
    build(path, tmp_path / "two", tokenizer=tokenizer, workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_built_already(tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]) -> None:
    """A second build does nothing; facts of a source are brought up to date; another corpus is refused."""
    path = jsonl_corpus(a=guides[:20])
    build(path, tmp_path / "out", tokenizer=tokenizer, workers=1)
    before = {name: (tmp_path / "out" / name).stat() for name in content(tmp_path / "out")}
    build(path, tmp_path / "out", workers=1)
    assert {name: (tmp_path / "out" / name).stat() for name in content(tmp_path / "out")} == before
    path.write_text(path.read_text().replace('"licence": "test"', '"licence": "CC0-1.0", "date": "2024", "weight": 2'))
    manifest = build(path, tmp_path / "out", workers=1)
    source = open_manifest(tmp_path / "out").sources["a"]
    assert (source.licence, source.date, source.weight) == ("CC0-1.0", "2024", 2.0)
    assert manifest.hash == open_manifest(tmp_path / "out").hash
    path = jsonl_corpus(a=guides[:21])
    with pytest.raises(UserError, match="holds a build of another corpus"):
        build(path, tmp_path / "out", workers=1)


def test_the_manifest_says_what_was_read(
    tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]
) -> None:
    """Not what a source's file holds by the time that the build is sealed; then it is another source."""
    path = jsonl_corpus(a=guides[:3])
    file = tmp_path / "a.jsonl"
    size = file.stat().st_size
    with ordered(path, tmp_path / "out", tokenizer) as order, Workers(1) as workers:
        folder = plan_build(order)
        assert folder is not None
        stages = build_stages(folder, order.corpus)
        run_stages(stages[:-1], workers)
        file.write_text(file.read_text() * 2)
        run_stages(stages[-1:], workers)
    assert open_manifest(tmp_path / "out").sources["a"].model_dump()["bytes"] == size
    with pytest.raises(UserError, match="holds a build of another corpus"):
        build(path, tmp_path / "out", workers=1)


def test_an_unfinished_build_leaves_no_table(
    tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]
) -> None:
    """A build that was killed as it was sealed, then one with other steps in its place: samples are the second's."""
    path = jsonl_corpus(a=[*guides[:3], "Une p\ufffdriode perdue"])
    content = path.read_text()
    path.write_text(json.dumps({**json.loads(content), "steps": ["repair"]}))
    out = tmp_path / "out"
    build(path, out, tokenizer=tokenizer, workers=1)
    assert (out / "rejected.parquet").exists()
    (out / "manifest.json").unlink()
    path.write_text(content)
    manifest = build(path, out, workers=1)
    assert "rejected.parquet" not in manifest.files
    assert not (out / "rejected.parquet").exists()


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from clapas.cli import main
from clapas_data import build, chunks, shards
kind, count = sys.argv[1], int(sys.argv[2])
def interrupting(function):
    def call(*arguments, **named):
        global count
        count -= 1
        if count == 0:
            os.kill(os.getpid(), getattr(signal, kind))
        return function(*arguments, **named)
    return call
shards.ShardWriter.add_many = interrupting(shards.ShardWriter.add_many)
chunks.run_steps = interrupting(chunks.run_steps)
sys.exit(main(["data", "build", *sys.argv[3:], "--workers", "1"]))
"""


def interrupted(kind: str, count: int, path: Path, out: Path, tokenizer: Path) -> int:
    """Build in a process that gets a signal at its count-th piece of work; returns its exit code."""
    arguments = [kind, str(count), str(path), "--out", str(out), "--tokenizer", str(tokenizer)]
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in run.stderr, run.stderr
    return run.returncode


def test_killed_and_finished_is_as_never_killed(
    tmp_path: Path, fresh_cache: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]
) -> None:
    """kill -9 again and again, while reading and while writing shards, then a build to the end: the same bytes."""
    sources = {name: guides[place * 20 : place * 20 + 25] for place, name in enumerate("abcd")}
    path = jsonl_corpus(**sources, held_out=[{"fraction": 0.1}])
    for count in (2, 2, 3, 1, 3):
        assert interrupted("SIGKILL", count, path, tmp_path / "out", tokenizer) == -signal.SIGKILL
        assert not (tmp_path / "out" / "manifest.json").exists()
    finished = list((tmp_path / "out" / ".build").glob("*.json"))
    assert finished
    times = [path.stat().st_mtime_ns for path in (tmp_path / "out" / "train").glob("*.bin")]
    build(path, tmp_path / "out", workers=1)
    assert set(times) <= {path.stat().st_mtime_ns for path in (tmp_path / "out" / "train").glob("*.bin")}
    os.environ["CLAPAS_CACHE"] = str(tmp_path / "other-cache")
    build(path, tmp_path / "never-killed", tokenizer=tokenizer, workers=1)
    assert content(tmp_path / "out") == content(tmp_path / "never-killed")


def test_ctrl_c_leaves_no_half_file(
    tmp_path: Path, fresh_cache: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]
) -> None:
    """Exit 130 in each phase; what is left is whole, and the next build goes on from it."""
    path = jsonl_corpus(a=guides[:30], b=guides[30:60])
    for count in (2, 2):
        assert interrupted("SIGINT", count, path, tmp_path / "out", tokenizer) == 130
        assert not [*tmp_path.rglob(".*partial*")]
    assert build(path, tmp_path / "out", workers=1).tokens("train") > 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode  # fmt: skip
    if not mounted:
        pytest.skip("needs root and mount; the same is tried with a limit on file sizes")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(small_disk: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str], clapas) -> None:
    """A disk that fills up while shards are written: exit 1, one line, no half file; with room it is finished."""
    path = jsonl_corpus(a=guides[:10], b=guides[10:])
    command = ("data", "build", path, "--out", small_disk / "out", "--workers", 1)
    run = clapas(*command, "--tokenizer", tokenizer, cwd=small_disk)
    assert run.returncode == 1, run.stderr
    assert "No space left on device" in run.stderr
    assert "Traceback" not in run.stderr
    left = [path.name for path in small_disk.rglob("*") if path.is_file()]
    assert not [name for name in left if "partial" in name]
    assert "b-00000.idx" not in left
    assert "manifest.json" not in left
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    run = clapas(*command, cwd=small_disk)
    assert run.returncode == 0, run.stderr
    verify(small_disk / "out").raise_for_damage()


def test_full_cache(tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]) -> None:
    """A limit on file sizes met while text is prepared, in a worker: exit 1, one line, no half file."""
    path = jsonl_corpus(a=guides)
    command = [
        sys.executable,
        "-m",
        "clapas",
        "data",
        "build",
        path,
        "--out",
        tmp_path / "out",
        "--tokenizer",
        tokenizer,
    ]
    run = subprocess.run(
        [*map(str, command), "--tokenizer", str(tokenizer), "--workers", "2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000)),
    )
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    assert not [*tmp_path.rglob("*partial*")]


def test_one_build_at_a_time(tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str], clapas) -> None:
    """A second build in the same folder is refused, with one message."""
    from clapas_data.files import locked

    path = jsonl_corpus(a=guides[:5])
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"):
        run = clapas("data", "build", path, "--out", tmp_path / "out", "--tokenizer", tokenizer, cwd=tmp_path)
    assert run.returncode == 2
    assert "a build is already running here" in run.stderr


def test_empty_corpora_are_refused(tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]) -> None:
    """No text at all, no document left, held-out documents that are not there: each told, nothing written."""
    with pytest.raises(UserError, match="source a has no text"):
        build(jsonl_corpus(a=["", " \n"]), tmp_path / "out", tokenizer=tokenizer, workers=1)
    path = jsonl_corpus(a=guides[:2], held_out=[{"files": "*a.jsonl"}])
    with pytest.raises(UserError, match="no document is left to train on"):
        build(path, tmp_path / "out", tokenizer=tokenizer, workers=1)
    path = jsonl_corpus(a=guides[:2], held_out=[{"ids": ["nonesuch"]}])
    with pytest.raises(UserError, match=r"held_out\[0\] of corpus made matches no document"):
        build(path, tmp_path / "out", tokenizer=tokenizer, workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_bad_input_is_one_message(tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, clapas) -> None:
    """Through the command line and a worker: exit 2, the line, no traceback, nothing left behind."""
    path = jsonl_corpus(a=["bon"] * 3)
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b'{"text": "soir\xe9e"}\n')
    run = clapas("data", "build", path, "--out", tmp_path / "out", "--tokenizer", tokenizer, cwd=tmp_path)
    assert run.returncode == 2
    assert "a.jsonl:4: not UTF-8 text" in run.stderr
    assert "Traceback" not in run.stderr
    assert not [*tmp_path.rglob("*partial*")]


def test_a_long_line_builds(tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path) -> None:
    """A single line of 50 MB is one document."""
    text = "Le maire signe. " * 3_200_000
    manifest = build(jsonl_corpus(a=[text]), tmp_path / "out", tokenizer=tokenizer, workers=1)
    assert manifest.shards[0].documents == 1
    assert manifest.text_bytes("train") == len(text.strip()) > 50_000_000


def test_inspect(test_data: Path) -> None:
    """What a folder holds, as values and as a table."""
    found = inspect(test_data)
    assert [(row["split"], row["source"]) for row in found["sources"]] == [
        ("train", "fiches-travail"), ("heldout", "fiches-travail")
    ]  # fmt: skip
    assert found["sources"][0]["licence"].startswith("etalab-2.0")
    assert found["hash"] == open_manifest(test_data).hash
    table = inspect_table(found)
    assert "decontaminate" in table
    assert f"{found['sources'][0]['tokens']:,}" in table


@pytest.mark.parametrize("name", ["train", "heldout"])
def test_a_folder_of_somebody_elses_is_never_replaced(
    tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str], name: str
) -> None:
    """`train/` beside the corpus file may hold its very texts: refused, and still there."""
    path = jsonl_corpus(a=guides[:20])
    mine = tmp_path / "out" / name / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        build(path, tmp_path / "out", tokenizer=tokenizer, workers=1)
    assert mine.read_text() == "mine"


def test_a_killed_tokenizer_training_is_no_hindrance(
    tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]
) -> None:
    """The half-made folder that it leaves is cleared away."""
    partial = tmp_path / "out" / ".tokenizer.partial-999999"
    partial.mkdir(parents=True)
    (partial / "tokenizer.json").write_text("{")
    build(jsonl_corpus(a=guides[:20]), tmp_path / "out", tokenizer=tokenizer, workers=1)
    assert not partial.exists()


@pytest.mark.parametrize("place", ["out", "out/deeper"])
def test_out_is_a_file(tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str], place: str) -> None:
    """Said so, and left alone, by `data build` and, before it works for an hour, by `tokenizer train`."""
    (tmp_path / "out").write_text("mine")
    path = jsonl_corpus(a=guides[:20])
    for work in (partial(build, path, tokenizer=tokenizer, workers=1), partial(train, path, 2048)):
        with pytest.raises(UserError, match="a file is in the way"):
            work(out=tmp_path / place)
    assert not any((tmp_path / "cache" / "prepared").glob("made*"))
    assert (tmp_path / "out").read_text() == "mine"


def test_the_cache_is_a_file(
    tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told with the variable that says another place."""
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("CLAPAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"a file is in the way(.|\n)*export CLAPAS_CACHE"):
        build(jsonl_corpus(a=guides[:20]), tmp_path / "out", tokenizer=tokenizer, workers=1)


def test_a_changed_eos_is_another_build(
    tmp_path: Path, jsonl_corpus: Corpus, tokenizer: Path, guides: list[str]
) -> None:
    """EOS and BOS come from tokenizer_config.json: changing it alone is not "built already"."""
    path, out = jsonl_corpus(a=guides[:20]), tmp_path / "out"
    build(path, out, tokenizer=tokenizer, workers=1)
    config = out / "tokenizer" / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"add_bos_token": false', '"add_bos_token": true'))
    with pytest.raises(UserError, match="another corpus, tokenizer"):
        build(path, out, workers=1)
