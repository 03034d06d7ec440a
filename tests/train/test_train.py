"""A run: trained by real processes, stopped, resumed. The property that would hurt most if false comes first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clapas.checkpoint.committed import committed_checkpoints
from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.ledger.ledger import read_json_lines, read_ledger, sum_ledger
from commands import Clapas, clapas_environment, python

SMALL = (
    "train.steps=6",
    "schedule.warmup_steps=2",
    "checkpoint.every=3",
    "evaluation.every=100",
    "telemetry.log_every=1",
)


def steps(run: Path) -> list[dict[str, Any]]:
    """The rows of logged steps, without what depends on the clock."""
    rows = [row for row in read_json_lines(run / "metrics.jsonl") if "split" not in row]
    return [{key: row[key] for key in ("step", "loss", "grad_norm", "learning_rate", "tokens")} for row in rows]


def same_state(first: Path, second: Path) -> bool:
    """Whether two checkpoints hold equal bits: masters, moments, step counts, generators."""
    one, two = CheckpointReader(first), CheckpointReader(second)
    assert one.names() == two.names()
    for name in one.names():
        record, other = one.manifest.parameters[name], two.manifest.parameters[name]
        assert record.scalars == other.scalars
        for state in record.states:
            if not torch.equal(one.tensor(name, state), two.tensor(name, state)):
                return False
    return one.manifest.training == two.manifest.training


@pytest.fixture
def train(tmp_path: Path, clapas: Clapas, test_data: Path) -> Any:
    """Train the test recipe in tmp_path; returns the finished process."""

    def run(name: str, *more: str, nproc: int = 1) -> subprocess.CompletedProcess[str]:
        overrides = (f"data.path={test_data}", f"run_dir={name}", *SMALL, *more)
        return clapas("train", "test", *overrides, "--nproc", nproc, cwd=tmp_path)

    return run


OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "lion": ("optimizer={name: lion, lr: 1e-3}",),
    "muon": ("optimizer.name=muon",),
    "schedule_free": ("optimizer.name=schedule_free", "schedule={name: constant, warmup_steps: 2}"),
    "averaged muP": ("optimizer.ema_decay=0.9", "optimizer.mup={base_width: 32}", "model.tie_word_embeddings=false"),
}
"""What is trained with besides AdamW alone."""


@pytest.mark.parametrize(
    ("optimizer", "zero_stage", "precision", "nproc"),
    [
        pytest.param("lion", 3, "fp32", 2, marks=pytest.mark.slow),
        ("muon", 1, "bf16", 2),
        pytest.param("schedule_free", 2, "bf16", 2, marks=pytest.mark.slow),
        pytest.param("averaged muP", 3, "bf16", 1, marks=pytest.mark.slow),
        pytest.param("averaged muP", 1, "fp32", 2, marks=pytest.mark.slow),
    ],
)
def test_every_optimizer_learns_and_resumes_bit_for_bit(
    train: Any, tmp_path: Path, optimizer: str, zero_stage: int, precision: str, nproc: int
) -> None:
    """As for AdamW; the resumed run validates after every step, so averaged weights leave no trace in the training."""
    overrides = (*OPTIMIZERS[optimizer], f"parallel.zero_stage={zero_stage}", f"precision={precision}")
    whole = train("whole", *overrides, nproc=nproc)
    assert whole.returncode == 0, whole.stderr
    losses = [row["loss"] for row in steps(tmp_path / "whole")]
    assert losses[-1] < losses[0] - 0.02
    newest = committed_checkpoints(tmp_path / "whole/checkpoints")[-1]
    resumed = tmp_path / "resumed"
    (resumed / "checkpoints").mkdir(parents=True)
    (tmp_path / "whole/checkpoints/step-00000003").rename(resumed / "checkpoints/step-00000003")
    again = train("resumed", *overrides, "evaluation.every=1", nproc=nproc)
    assert again.returncode == 0, again.stderr
    assert steps(resumed) == steps(tmp_path / "whole")[3:]
    assert same_state(newest, find_checkpoint(resumed))


@pytest.mark.slow
def test_muon_is_the_same_whatever_cuts_its_matrices(train: Any, tmp_path: Path) -> None:
    """One rank, and two at each ZeRO stage: the same losses to 1e-5 in fp32 over 20 steps."""
    for name, stage, nproc in (("one", 0, 1), ("zero0", 0, 2), ("zero1", 1, 2), ("zero2", 2, 2), ("zero3", 3, 2)):
        result = train(name, "optimizer.name=muon", "train.steps=20", f"parallel.zero_stage={stage}", nproc=nproc)
        assert result.returncode == 0, result.stderr
    expected = steps(tmp_path / "one")
    for name in ("zero0", "zero1", "zero2", "zero3"):
        for row, wanted in zip(steps(tmp_path / name), expected, strict=True):
            assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
            assert row["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("clipping", [0.1, 0.0])
def test_clipping_acts_on_the_true_gradient(train: Any, tmp_path: Path, clipping: float) -> None:
    """After one step Muon's momenta are shares of the gradient it saw: as long as the limit, or, at 0, as logged.

    DeepSpeed's own Muon clips the orthogonalised update instead.
    """
    overrides = (
        "optimizer={name: muon, momentum: 0.75, betas: [0.75, 0.95]}",
        f"optimizer.gradient_clipping={clipping}",
    )
    result = train("run", *overrides, "train.steps=1", "schedule.warmup_steps=0", "parallel.zero_stage=2", nproc=2)
    assert result.returncode == 0, result.stderr
    (row,) = steps(tmp_path / "run")
    assert row["grad_norm"] > 0.2
    reader = CheckpointReader(find_checkpoint(tmp_path / "run"))
    momenta = {name: next(s for s in ("momentum_buffer", "exp_avg") if s in record.states)
               for name, record in reader.manifest.parameters.items()}  # fmt: skip
    seen = torch.cat([reader.tensor(name, state).flatten().double() for name, state in momenta.items()]) / (1 - 0.75)
    assert seen.norm().item() == pytest.approx(clipping or row["grad_norm"], rel=1e-4)


@pytest.mark.slow
def test_validation_and_evaluation_take_the_average(train: Any, tmp_path: Path, clapas: Clapas) -> None:
    """What the run logs is what `clapas eval` measures of its checkpoint; the weights as they train are another model.

    The average is the mean of the steps' weights until 1 / (1 - decay) steps are done: here it stays one.
    """
    overrides = (
        "optimizer.ema_decay=0.9",
        "checkpoint={every: 1, keep: 3}",
        "train.steps=3",
        "evaluation={every: 3, tokens: null}",
    )
    result = train("run", *overrides, nproc=2)
    assert result.returncode == 0, result.stderr
    (logged,) = [row for row in read_json_lines(tmp_path / "run/metrics.jsonl") if "split" in row]
    measured = {}
    for weights in ("average", "raw", None):
        chosen = () if weights is None else ("--weights", weights)
        evaluated = clapas("eval", "run", "--json", *chosen, cwd=tmp_path)
        assert evaluated.returncode == 0, evaluated.stderr
        measured[weights] = json.loads(evaluated.stdout)["bits_per_byte"]
    assert measured["average"] == measured[None] == pytest.approx(logged["bits_per_byte"], rel=1e-6)
    assert measured["raw"] != pytest.approx(logged["bits_per_byte"], rel=1e-4)
    readers = [CheckpointReader(path) for path in committed_checkpoints(tmp_path / "run/checkpoints")]
    mean = torch.stack([reader.tensor("model.norm.weight").double() for reader in readers]).mean(0)
    assert torch.allclose(readers[-1].tensor("model.norm.weight", "average").double(), mean, rtol=1e-6)


@pytest.mark.parametrize(
    ("zero_stage", "precision", "nproc"),
    [
        (0, "fp32", 1),
        (1, "fp32", 2),
        (3, "bf16", 1),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    train: Any, tmp_path: Path, zero_stage: int, precision: str, nproc: int
) -> None:
    """Six steps in one go, and three plus three by the same command: equal losses, masters, moments and counters."""
    layout = (f"parallel.zero_stage={zero_stage}", f"precision={precision}")
    whole = train("whole", *layout, nproc=nproc)
    assert whole.returncode == 0, whole.stderr
    newest = committed_checkpoints(tmp_path / "whole/checkpoints")[-1]
    resumed = tmp_path / "resumed"
    (resumed / "checkpoints").mkdir(parents=True)
    (tmp_path / "whole/checkpoints/step-00000003").rename(resumed / "checkpoints/step-00000003")
    again = train("resumed", *layout, nproc=nproc)
    assert again.returncode == 0, again.stderr
    assert "resuming after step 3" in again.stderr
    assert steps(resumed) == steps(tmp_path / "whole")[3:]
    assert same_state(newest, find_checkpoint(resumed))


def test_a_run_may_go_on_with_other_ranks_and_another_stage(train: Any, tmp_path: Path) -> None:
    """The checkpoint of two ranks at ZeRO-1 is read by one rank at ZeRO-3; the ledger tells both."""
    assert train("run", "train.steps=6", nproc=2).returncode == 0
    newest = committed_checkpoints(tmp_path / "run/checkpoints")[-1]
    whole = steps(tmp_path / "run")
    newest.rename(tmp_path / "elsewhere")
    result = train("run", "parallel.zero_stage=3", nproc=1)
    assert result.returncode == 0, result.stderr
    for row, wanted in zip(steps(tmp_path / "run"), whole, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    starts = [event for event in read_ledger(tmp_path / "run") if event["event"] == "segment_start"]
    assert [start["ranks"] for start in starts] == [2, 1]
    assert starts[0]["identity"] == starts[1]["identity"]
    assert starts[0]["execution"] != starts[1]["execution"]


def test_what_a_run_leaves(train: Any, tmp_path: Path) -> None:
    """Every file that the design names, consistent with each other."""
    assert train("run").returncode == 0
    run = tmp_path / "run"
    assert [row["step"] for row in steps(run)] == [1, 2, 3, 4, 5, 6]
    assert json.loads((run / "outcome.json").read_text()) == {"exit_code": 0, "reason": "done", "step": 6, "segment": 1}
    assert (run / "segments/001/deepspeed.json").is_file()
    assert "versions" in json.loads((run / "segments/001/environment.json").read_text())
    total = sum_ledger(read_ledger(run))
    assert (total.steps, total.tokens, total.segments) == (6, 6 * 8 * 128, 1)
    reader = CheckpointReader(find_checkpoint(run))
    assert (run / "recipe.yaml").read_text().startswith(f"# identity: {reader.manifest.identity}\n")
    assert not list(run.rglob("*.pkl")) + list(run.rglob("*.pt"))


def test_a_finished_run_does_nothing_more(train: Any, tmp_path: Path) -> None:
    """The same command again: done, nothing trained, nothing rewritten."""
    assert train("run").returncode == 0
    before = steps(tmp_path / "run")
    again = train("run")
    assert again.returncode == 0, again.stderr
    assert "trained already" in again.stderr
    assert steps(tmp_path / "run") == before
    assert sum_ledger(read_ledger(tmp_path / "run")).segments == 1
    assert json.loads((tmp_path / "run/outcome.json").read_text())["exit_code"] == 0
    assert len(committed_checkpoints(tmp_path / "run/checkpoints")) == 2


def test_validation_is_logged_and_kept_as_evidence(train: Any, tmp_path: Path) -> None:
    """Held-out loss and bits per byte at the steps asked for and at the end, equal on one rank and on two."""
    for name, nproc in (("one", 1), ("two", 2)):
        result = train(name, "evaluation.every=3", "evaluation.tokens=32768", nproc=nproc)
        assert result.returncode == 0, result.stderr
    found = {}
    for name in ("one", "two"):
        rows = [row for row in read_json_lines(tmp_path / name / "metrics.jsonl") if "split" in row]
        assert [row["step"] for row in rows] == [3, 6]
        found[name] = [row["bits_per_byte"] for row in rows]
        assert found[name][1] < found[name][0]
        evaluations = sum_ledger(read_ledger(tmp_path / name)).evaluations
        assert evaluations[-1]["bits_per_byte"] == found[name][1]
    assert found["one"] == pytest.approx(found["two"], rel=1e-5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(
    train: Any, tmp_path: Path, test_data: Path, number: signal.Signals
) -> None:
    """Exit 75 after an agreed stop of both ranks; then the run ends with the losses of an undisturbed one."""
    overrides = (f"data.path={test_data}", "run_dir=run", *SMALL, "train.steps=200", "checkpoint.every=1000")
    command = [python(), "-m", "clapas", "train", "test", *overrides, "--nproc", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, env=clapas_environment(), stderr=subprocess.PIPE, text=True)
    wait_for_step(tmp_path / "run", process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75, errors
    outcome = json.loads((tmp_path / "run/outcome.json").read_text())
    assert outcome["exit_code"] == 75
    assert CheckpointReader(find_checkpoint(tmp_path / "run")).step == outcome["step"]
    assert steps(tmp_path / "run")[-1]["step"] == outcome["step"]


def wait_for_step(run: Path, process: subprocess.Popen[str], step: int = 1) -> None:
    """Until a run has logged a step; fails where it ends before."""
    metrics = run / "metrics.jsonl"
    while not metrics.is_file() or metrics.read_bytes().count(b"\n") < step:
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"the run ended: {process.stderr.read() if process.stderr else ''}")


def test_torchrun_starts_ranks_too(train: Any, tmp_path: Path, test_data: Path) -> None:
    """The same losses as --nproc."""
    assert train("ours", nproc=2).returncode == 0
    overrides = (f"data.path={test_data}", "run_dir=theirs", *SMALL)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "clapas", "train", "test", *overrides]
    result = subprocess.run(
        command, cwd=tmp_path, env=clapas_environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert steps(tmp_path / "theirs") == steps(tmp_path / "ours")


@pytest.mark.parametrize(
    "layout",
    [
        "parallel.zero_stage=1",
        pytest.param("parallel.tensor=2", marks=pytest.mark.slow),
        pytest.param("parallel.sequence=2", marks=pytest.mark.slow),
    ],
)
def test_a_killed_rank_ends_the_run_and_loses_nothing_committed(tmp_path: Path, test_data: Path, layout: str) -> None:
    """SIGKILL of one rank: exit 1 within the grace, and the last checkpoint resumes."""
    overrides = (f"data.path={test_data}", "run_dir=run", *SMALL, "train.steps=200", "checkpoint.every=1", layout)
    command = [sys.executable, "-m", "clapas", "train", "test", *overrides, "--nproc", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, env=clapas_environment(), stderr=subprocess.PIPE, text=True)
    wait_for_step(tmp_path / "run", process, step=3)  # that of step 1 is committed before step 2 is saved
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[1]), signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert CheckpointReader(find_checkpoint(tmp_path / "run")).step >= 1
