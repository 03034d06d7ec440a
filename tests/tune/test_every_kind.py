"""Every kind of training is the one loop: resumed to the bit, audited, in the ledger, the same on any ranks and stages.

A diagonal of the kinds runs by default, all of them where slow tests do.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tune.every_kind import (
    KINDS,
    OTHER,
    SAMPLES,
    events,
    learned,
    run_all,
    settings,
    weights,
    write_folders,
)

from clapas.loader.audit import audit

DIAGONAL = ("sft, LoRA", "dpo", "distillation", "grpo, LoRA")
REST = [kind for kind in KINDS if kind not in DIAGONAL]
STAGES = (0, 1, 2, 3)
EVERY = [*DIAGONAL, *(pytest.param(kind, marks=pytest.mark.slow) for kind in REST)]


def place(kind: str) -> str:
    """A kind's name, as a folder's."""
    return kind.replace(", ", "-")


@pytest.fixture(scope="module")
def ground(test_data: Path, trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data of every kind, a model to begin with, and a teacher."""
    folder = tmp_path_factory.mktemp("kinds")
    write_folders(folder, test_data / "tokenizer")
    for name in ("base", "teacher"):
        (folder / name).symlink_to(trained_run)
    return folder


def stop_and_resume(ground: Path, kinds: tuple[str, ...] | list[str]) -> dict[str, list[int | str]]:
    """Of each kind: a whole run; one that is told to stop after its second step; the same gone on with, and refused
    to another run's recipe in between."""
    jobs: list[tuple[list[str], int]] = []
    for kind in kinds:
        stopped = f"stopped/{place(kind)}"
        other = OTHER.get(kind.partition(", ")[0], "objective.beta=0.2")
        jobs += [
            (settings(kind, f"whole/{place(kind)}"), 0),
            (settings(kind, stopped), 2),
            (settings(kind, stopped, other), 0),
            (settings(kind, stopped), 0),
        ]
    ended = run_all(ground, f"resume-{len(kinds)}", jobs)
    return {kind: ended[4 * n : 4 * n + 4] for n, kind in enumerate(kinds)}


@pytest.fixture(scope="module")
def diagonal(ground: Path) -> dict[str, list[int | str]]:
    """How the runs of the diagonal ended."""
    return stop_and_resume(ground, DIAGONAL)


@pytest.fixture(scope="module")
def rest(ground: Path) -> dict[str, list[int | str]]:
    """How those of the other kinds ended."""
    return stop_and_resume(ground, REST)


@pytest.fixture
def ended(kind: str, request: pytest.FixtureRequest) -> list[int | str]:
    """How a kind's four starts ended."""
    return request.getfixturevalue("diagonal" if kind in DIAGONAL else "rest")[kind]


@pytest.mark.parametrize("kind", EVERY)
def test_a_stopped_run_goes_on_to_the_bit(kind: str, ended: list[int | str], ground: Path) -> None:
    """SIGTERM during a step: saved, exit 75; gone on with, rows and weights are those of an undisturbed run."""
    whole, stopped = ground / "whole" / place(kind), ground / "stopped" / place(kind)
    assert (ended[0], ended[1], ended[3]) == (0, 75, 0)
    assert [row["step"] for row in learned(whole)] == [1, 2, 3, 4]
    assert learned(stopped) == learned(whole)
    assert weights(stopped) == weights(whole)
    assert learned(whole)[0]["loss"] != learned(whole)[3]["loss"]


@pytest.mark.parametrize("kind", EVERY)
def test_another_objective_is_another_run(kind: str, ended: list[int | str], ground: Path) -> None:
    """Its options belong to a run's identity: with others a resume is refused, and the message says in what."""
    refusal = ended[2]
    assert isinstance(refusal, str)
    assert OTHER.get(kind.partition(", ")[0], "objective.beta").partition("=")[0] in refusal


@pytest.mark.parametrize("kind", EVERY)
def test_an_audit_names_the_examples_of_a_step(
    kind: str, ended: list[int | str], ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step reads as many examples as its batch has, whole, and none that another step of the epoch read."""
    monkeypatch.chdir(ground)  # the recipe names the data from where it was started
    documents = 2 if kind.partition(", ")[0] in ("dpo", "ipo", "orpo") else 1
    named: list[str] = []
    for step in (1, 2, 3, 4):
        rows = audit(ground / "stopped" / place(kind), step)
        ids = [row["id"] for row in rows]
        assert len(ids) == SAMPLES * documents
        assert ids[::documents] == ids[documents - 1 :: documents]
        assert all(row["first"] == 0 for row in rows)
        named += ids[::documents]
    assert len(set(named)) == 4 * SAMPLES
    assert all(name.startswith("dialogue-") for name in named)


@pytest.mark.parametrize("kind", EVERY)
def test_the_ledger_says_what_was_minimised(kind: str, ended: list[int | str], ground: Path) -> None:
    """Two segments, with the objective of each, its adapters where there are, and why it ended; what it began with."""
    found = events(ground / "stopped" / place(kind))
    names = [event["event"] for event in found]
    starts = [event for event in found if event["event"] == "segment_start"]
    assert len(starts) == 2
    assert [event["reason"] for event in found if event["event"] == "segment_end"] == ["asked to stop; saved", "done"]
    assert names.count("first_weights") == 1
    objective, _, adapters = kind.partition(", ")
    assert [event["objective"]["name"] for event in starts] == [objective] * 2
    assert [bool(event.get("lora")) for event in starts] == [bool(adapters)] * 2


@pytest.fixture(scope="module")
def on_ranks(ground: Path) -> Path:
    """Every kind on two ranks at every stage, two steps each; ZeRO-3 last, for it changes the processes."""
    jobs = [
        (settings(kind, f"stage-{stage}/{place(kind)}", f"parallel.zero_stage={stage}", "train.steps=2"), 0)
        for stage in STAGES
        for kind in KINDS
    ]
    assert run_all(ground, "stages", jobs, ranks=2) == [0] * len(jobs)
    return ground


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_ranks_and_stages_change_nothing(kind: str, stage: int, diagonal: object, rest: object, on_ranks: Path) -> None:
    """On two ranks the losses are those of one, but for rounding."""
    alone = learned(on_ranks / "whole" / place(kind))[:2]
    shared = learned(on_ranks / f"stage-{stage}" / place(kind))
    assert len(shared) == 2
    for row, other in zip(shared, alone, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            assert value == pytest.approx(other[name], rel=5e-4, abs=5e-5), name
