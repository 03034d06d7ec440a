"""`clapas eval` as a stranger types it: tables, JSON, ranks, and mistakes."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from tests.evaluate.small import write_model

from clapas.cli import run
from clapas.evaluate.command import words_of_ranks
from commands import Clapas


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model."""
    path = tmp_path_factory.mktemp("command") / "model"
    write_model(path)
    return path


@pytest.mark.slow
def test_two_ranks_are_one(clapas: Clapas, folder: Path, tmp_path: Path) -> None:
    """Multiple choice and generation on two gloo ranks: the figures and requests of one, printed once."""
    pytest.importorskip("lm_eval")
    asked = ("eval", folder, "--tasks", "clapas_fr_grammaire,clapas_fr_completer", "--json")
    one, two = (clapas(*asked, "--nproc", ranks, cwd=tmp_path) for ranks in (1, 2))
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert orjson.loads(one.stdout) == orjson.loads(two.stdout)


@pytest.mark.slow
def test_bits_per_byte_on_two_ranks(clapas: Clapas, trained_run: Path, tmp_path: Path) -> None:
    """By source, and recorded: windows shared by two ranks give one table."""
    both = [
        clapas("eval", trained_run, "--by", "source", "--json", "--nproc", ranks, cwd=trained_run.parent)
        for ranks in (1, 2)
    ]
    one, two = (orjson.loads(result.stdout) for result in both)
    assert one["tokens"] == two["tokens"] == sum(part["tokens"] for part in one["parts"])
    assert one["bits_per_byte"] == pytest.approx(two["bits_per_byte"], rel=1e-6)
    assert [part["name"] for part in one["parts"]] == ["fiches-travail"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["MODEL", "--limit", "3"], "--limit needs --tasks"),
        (["MODEL", "--chat"], "--chat needs --tasks or --probe"),
        (["MODEL", "--tasks", "local", "--probe", "all"], "--tasks and --probe are more than one measurement"),
        (["MODEL", "--contamination", "--by", "source"], "--by is of bits per byte"),
        (["MODEL", "--contamination"], "contamination is looked for of a run"),
        (["MODEL", "--tasks", "local", "--by", "source"], "--by is of bits per byte"),
        (["MODEL", "--tasks", "local", "--system", "Bonjour"], "--system needs --chat"),
        (["MODEL", "--probe", "biais"], "no such probe"),
        (["MODEL", "--tasks", "local", "--nproc", "0"], "--nproc has no such value"),
        (["MODEL", "--probe", "bias", "--record"], "this model is of no run"),
        ([], "no model"),
    ],
)
def test_mistakes(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """What does not go together is told before anything is loaded; exit 2."""
    assert run(["eval", *(str(folder) if word == "MODEL" else word for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_what_it_computes_in(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dtype bf16` is what was measured in, and the result says so; sentences are about as likely."""
    nats = {}
    for dtype in ("fp32", "bf16"):
        assert run(["eval", str(folder), "--probe", "bias", "--json", "--dtype", dtype]) == 0
        told = orjson.loads(capsys.readouterr().out)
        assert told["dtype"] == dtype
        nats[dtype] = told["probes"]["bias"]["figures"]["nats"]
    assert nats["bf16"] != nats["fp32"]
    assert nats["bf16"] == pytest.approx(nats["fp32"], abs=1)


def test_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list-tasks` names ours and the French ones, without a model or lm-eval."""
    assert run(["eval", "--list-tasks"]) == 0
    told = capsys.readouterr().out
    assert "clapas_fr_grammaire: multiple choice" in told
    assert "belebele_fra_Latn" in told


def test_ranks_run_the_same_command() -> None:
    """Without `--nproc`, however it was spelt."""
    assert words_of_ranks(["eval", "m", "--nproc", "2", "--json"]) == ["eval", "m", "--json"]
    assert words_of_ranks(["eval", "m", "--nproc=2"]) == ["eval", "m"]
