"""What a job decides after an attempt, from what the run has written and what Slurm says of its nodes."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from clapas.checkpoint.committed import COMMITTED
from clapas.launch.attempt import begin, end
from clapas.launch.records import Launch
from clapas.launch.slurm import failed_since
from clapas.launch.snapshot import code_version
from clapas.ledger.ledger import Ledger
from clapas.recipe.recipe import Recipe, read_recipe

from .lab import Lab


@dataclass(frozen=True)
class Case:
    """How an attempt from step 5 ended, and the answer. code: outcome.json's; None: there is none."""

    code: int | None
    answer: str
    saved: int = 5
    facts: dict[str, Any] = field(default_factory=dict)
    failures_before: int = 0
    cancelled: bool = False
    stalled: tuple[int, ...] = ()


CASES = {
    "done": Case(0, "done", saved=20),
    "told to stop, and saved": Case(75, "requeue", saved=8),
    "told to stop, again and again, before any step was done": Case(75, "stop", failures_before=3),
    "wrong input": Case(2, "stop"),
    "a second Ctrl-C": Case(130, "stop"),
    "failed": Case(1, "requeue"),
    "killed": Case(None, "requeue"),
    "failed as often as it may": Case(1, "requeue", failures_before=2),
    "failed once too often": Case(1, "stop", failures_before=3),
    "saved after many failures": Case(75, "requeue", saved=8, failures_before=9),
    "cancelled": Case(75, "done", saved=8, cancelled=True),
    "the last of a chain": Case(75, "stop", saved=8, facts={"chain": 2}),
    "a job of a chain that failed": Case(1, "requeue", facts={"chain": 2}),
    "where jobs do not requeue": Case(75, "stop", saved=8, facts={"requeue": False}),
    "a rank stalled on the second node": Case(1, "requeue", stalled=(1,)),
    "and again": Case(1, "requeue node2", stalled=(1,), failures_before=1),
}


@pytest.fixture
def recipe(slurm: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A run in `tmp_path`, and the environment of a job of two nodes with a rank each."""
    for name, value in {"JOB_ID": "7", "JOB_NODELIST": "node[1-2]", "NTASKS": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    return read_recipe("test", [f"run_dir={tmp_path / 'run'}"])


def launched(recipe: Recipe, facts: dict[str, Any]) -> Launch:
    """A launch of it, as if it had been submitted."""
    launch = Launch(recipe.folder / "launch/001")
    launch.folder.mkdir(parents=True)
    launch.write_facts({"jobs": ["7"], "chain": None, "retries": 3, "requeue": True, "lead_seconds": 300, **facts})
    (launch.folder / "code.json").write_bytes(orjson.dumps(code_version().facts()))
    return launch


def save(recipe: Recipe, step: int) -> None:
    """A checkpoint, as far as its name goes."""
    folder = recipe.folder / f"checkpoints/step-{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / COMMITTED).touch()


@pytest.mark.parametrize("name", CASES)
def test_after_an_attempt(name: str, recipe: Recipe) -> None:
    """Once more, elsewhere, or not."""
    case = CASES[name]
    launch = launched(recipe, case.facts)
    for number in range(case.failures_before):
        launch.record("end", attempt=number, failed=True, failed_nodes=["node2"] if case.stalled else [])
    save(recipe, 5)
    assert begin(launch, recipe).split()[0] == ("stop" if case.failures_before > 3 else "run")
    if case.failures_before > 3:  # as when the budget was smaller: here it is what `end` says that is looked at
        launch.record("begin", attempt=9, job="7", nodes=["node1", "node2"], step=5, log="job-7.log", log_bytes=0)
    save(recipe, case.saved)
    ledger = Ledger(recipe.folder)
    ledger.append("segment_start", segment=1, step=5)
    if case.stalled:
        ledger.append("stalled", segment=1, step=6, ranks=list(case.stalled))
    if case.code is not None:
        outcome = {"exit_code": case.code, "reason": "so it was", "step": case.saved, "segment": 1}
        (recipe.folder / "outcome.json").write_bytes(orjson.dumps(outcome))
    if case.cancelled:
        launch.mark_cancelled()
    assert end(launch, recipe, announced=False) == case.answer
    last = launch.attempts()[-1]
    assert (last["event"], last["step"]) == ("end", case.saved)
    assert last["failed"] == (case.code not in (0, 75) or case.saved == 5)
    assert last["failed_nodes"] == ["node2"] * bool(case.stalled)


def test_two_jobs_on_one_node_meet_at_ports_of_their_own(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours in the queue get other ports, and one that is taken is passed over."""
    launch = launched(recipe, {})
    ports = []
    for job in (7, 8):
        monkeypatch.setenv("SLURM_JOB_ID", str(job))
        ports.append(int(begin(launch, recipe).split()[1]))
    assert len(set(ports)) == 2
    assert launch.jobs == ["7", "8"]  # the second, submitted by hand, has begun
    with socket.socket() as taken:
        taken.bind(("", ports[1]))
        taken.listen()
        assert int(begin(launch, recipe).split()[1]) not in ports


def test_a_run_that_is_done_is_not_begun(recipe: Recipe) -> None:
    """Such as by the rest of a chain."""
    launch = launched(recipe, {})
    save(recipe, recipe.total_steps)
    assert begin(launch, recipe) == "done"


@pytest.mark.parametrize(("facts", "answer"), [({}, "requeue"), ({"chain": 2, "requeue": False}, "next")])
def test_a_controller_that_does_not_answer_stops_no_run(
    facts: dict[str, Any], answer: str, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Which nodes failed is not known then, and the log says so. What was killed is judged at the next begin."""
    launch = launched(recipe, {"jobs": ["7", "8"], **facts})
    configuration = Path(os.environ["SLURM_CONF"]).read_text()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
    lines = [
        line if not line.startswith("SlurmctldPort=") else f"SlurmctldPort={port}"
        for line in configuration.splitlines()
    ]
    (tmp_path / "slurm.conf").write_text("\n".join([*lines, ""]))
    assert begin(launch, recipe).startswith("run ")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    monkeypatch.setattr("clapas.launch.slurm.SECONDS", 0.5)  # no minute of patience
    assert end(launch, recipe, announced=False) == answer
    assert "does not answer" in capsys.readouterr().err


def test_a_signal_before_the_ranks_began_is_no_failure(recipe: Recipe) -> None:
    """The time limit was near as the job began."""
    launch = launched(recipe, {})
    begin(launch, recipe)
    assert end(launch, recipe, announced=True, ran=False) == "requeue"
    assert not launch.attempts()[-1]["failed"]


def test_nodes_are_blamed_for_what_befell_them_in_the_attempt(recipe: Recipe, slurm: Lab) -> None:
    """A drain while it ran or soon after counts, one long after does not."""
    began, nodes = time.time(), ["node1", "node2"]
    try:
        slurm("scontrol", "update", "NodeName=node2", "State=DRAIN", "Reason=two words", cwd=recipe.folder.parent)
        assert failed_since(nodes, began) == ["node2"]
        assert failed_since(nodes, began, began - 60) == ["node2"]
        assert failed_since(nodes, began, began - 3600) == []
        launch = launched(recipe, {})
        launch.record("begin", attempt=1, job="6", nodes=nodes, step=5, log="job-6.log", log_bytes=0)
        (launch.folder / "job-6.log").write_text("srun: error: Node failure on node1\n")  # its own log, not this job's
        begin(launch, recipe)
        assert launch.attempts()[1]["failed_nodes"] == nodes
    finally:
        slurm("scontrol", "update", "NodeName=node2", "State=RESUME", cwd=recipe.folder.parent)
