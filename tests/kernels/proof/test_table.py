"""What the proof says of its figures: each broken claim and each moved figure is a sentence, and the command's exit."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import triton.language as tl

from clapas_kernels.language import jit
from clapas_kernels.proof import __main__ as command
from clapas_kernels.proof import cases
from clapas_kernels.proof.cases import Case, Launch, case
from clapas_kernels.proof.golden import differences
from clapas_kernels.proof.measure import traffic_of
from clapas_kernels.proof.table import MeasuringError, as_json, as_text, broken_claims, measured

CASE = Case(
    "norm", "forward", {"rows": 8}, lambda: Launch(lambda: None, [], 1), 1.05, occupancy_at_least=0.5,
    wide_at_least=0.9, multiprocessors=None,
)  # fmt: skip
KERNEL = {"warps": 8, "registers": 40, "spilled": 0, "shared": 0, "accesses": {"load 128": 1}} | {
    "wide": 1.0,
    "occupancy": 0.5,
    "programs": 4,
}
TRAFFIC = {"launches": 1, "aten": 0, "issued": 1.2, "sectors": 1.2, "dram": 1.05, "fault": None}


def report(part: str = "", **changed: Any) -> dict[str, Any]:
    """A sound one, or one with these figures changed."""
    sound = {CASE.name: {"traffic": TRAFFIC, "static": {"sm_90": {"_kernel": KERNEL}}}}
    sound = copy.deepcopy(sound)
    found = sound[CASE.name]["traffic"] if part == "traffic" else sound[CASE.name]["static"]["sm_90"]["_kernel"]
    found.update(changed)
    return sound


def test_a_sound_report_breaks_no_claim() -> None:
    assert list(broken_claims([CASE], report())) == []
    assert list(differences(report(), report())) == []


@pytest.mark.parametrize(
    ("part", "changed", "complaint"),
    [
        ("traffic", {"dram": 1.06}, "moves 1.060 of the minimal bytes; at most 1.05"),
        ("traffic", {"fault": "RaceError: program 1"}, "RaceError: program 1"),
        ("static", {"spilled": 16}, "_kernel on sm_90 spills 16 bytes a thread"),
        ("static", {"occupancy": 0.25}, "_kernel on sm_90 reaches 25% occupancy; at least 50%"),
        ("static", {"wide": 0.5}, "moves 50% of its bulk bytes 128 bits wide"),
    ],
)
def test_a_broken_claim_is_told(part: str, changed: dict[str, Any], complaint: str) -> None:
    (sentence,) = broken_claims([CASE], report(part, **changed))
    assert sentence.startswith("norm forward rows=8: ")
    assert complaint in sentence


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("traffic", {"launches": 2}),
        ("traffic", {"aten": 1}),
        ("traffic", {"issued": 1.21}),
        ("traffic", {"sectors": 1.19}),
        ("traffic", {"dram": 1.04}),
        ("traffic", {"fault": "RaceError"}),
        ("static", {"warps": 4}),
        ("static", {"registers": 49}),
        ("static", {"registers": 31}),
        ("static", {"spilled": 4}),
        ("static", {"shared": 2048}),
        ("static", {"wide": 0.97}),
        ("static", {"occupancy": 0.75}),
    ],
)
def test_a_moved_figure_is_told(part: str, changed: dict[str, Any]) -> None:
    (sentence,) = differences(report(), report(part, **changed))
    (name, value), *_ = changed.items()
    assert f"{name} is {value}, was " in sentence


@pytest.mark.parametrize(("part", "changed"), [("traffic", {"dram": 1.053}), ("static", {"registers": 47})])
def test_within_the_tolerance_nothing_is_told(part: str, changed: dict[str, Any]) -> None:
    assert list(differences(report(), report(part, **changed))) == []


def test_another_case_or_kernel_is_told() -> None:
    other = report()
    other[CASE.name]["static"]["sm_90"]["_other"] = KERNEL
    assert "launches ['_kernel', '_other'], not ['_kernel']" in next(iter(differences(report(), other)))
    assert list(differences({}, report())) == [f"{CASE.name}: not in the golden file"]
    del other[CASE.name]["static"]
    assert list(differences(report(), other)) == []  # what was not measured is not compared


def test_the_table_names_each_figure() -> None:
    text = as_text(report("traffic", fault="RaceError: program 1")).splitlines()
    assert text[0].split() == ["case", "launches", "ATen", "issued", "sectors", "DRAM"]
    assert text[3].split()[3:] == ["1", "0", "1.200", "1.200", "1.050", "RaceError:", "program", "1"]
    assert text[4].split() == ["_kernel", "40", "0", "50%", "1.00"]


def test_a_target_without_the_operation_has_an_empty_column() -> None:
    """The figures of the others stand under their own names, whichever case comes first."""
    everywhere = report() | {"other": {"traffic": TRAFFIC, "static": {"sm_80": {"_other": KERNEL}, "sm_90": {}}}}
    text = as_text(everywhere).splitlines()
    assert text[1].split() == ["kernel", "sm_90", "sm_80"]
    assert text[4].split() == ["_kernel", "40", "0", "50%", "1.00", "-"]
    assert text[6].split() == ["_other", "-", "40", "0", "50%", "1.00"]


@jit
def square(X, n):
    tl.store(X, n * n)


def fault_of(launch: Launch) -> str | None:
    return traffic_of(Case("square", "forward", {}, lambda: launch, 1, 0, 0, None)).fault


def test_a_fault_in_a_case_is_told() -> None:
    x = torch.zeros(1, dtype=torch.int64)
    overflows = Launch(lambda: square[(1,)](x, 2**20), [], 8)
    assert fault_of(overflows) == "AssertionError: int32 overflow detected for operation mul"
    assert fault_of(Launch(lambda: square[(1,)](x, 3), [x], 8)) == (
        "InputWrittenError: square: program 0 stores into an input"
    )
    assert fault_of(Launch(lambda: square[(1,)](x, 3), [x], 8, written=[x])) is None
    assert x.item() == 9


def test_two_cases_may_not_have_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "_cases", {})
    register = case("norm", "forward", [{"rows": 1}], ratio_at_most=1)
    register(lambda rows: Launch(lambda: None, [], rows))
    with pytest.raises(ValueError, match="two cases are named 'norm forward rows=1'"):
        register(lambda rows: Launch(lambda: None, [], rows))


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(MeasuringError, match="no case is named 'norm forward rows=8'"):
        measured([CASE], [])


def test_without_triton_the_proof_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "triton.py").write_text("raise ImportError")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    arguments = [sys.executable, "-m", "clapas_kernels.proof"]
    run = subprocess.run(arguments, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("The proof needs triton 3.9")


def test_the_json_is_the_report_with_a_line_for_each_kernel() -> None:
    text = as_json(report())
    assert json.loads(text) == report()
    assert len(text.splitlines()) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "sm_70"], "found 'sm_70'; must be of sm_80, sm_90, sm_100, gfx90a, gfx942"),
        (["--operation", "convolution"], "invalid choice: 'convolution'"),
        (["--golden", "nowhere.json"], "nowhere.json: [Errno 2] No such file"),
    ],
)
def test_wrong_arguments_are_told(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["proof", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("moved", [False, True])
def test_the_command_holds_its_figures_against_a_golden_file(moved: bool, tmp_path: Path) -> None:
    golden = json.loads((Path(__file__).parents[1] / "golden.json").read_text())
    if moved:
        golden["rms_norm forward tokens=248,hidden=2048"]["traffic"]["dram"] = 0.9
    file = tmp_path / "golden.json"
    file.write_text(json.dumps(golden))
    arguments = ["--operation", "rms_norm", "--target", "sm_90", "--golden", file]
    run = subprocess.run(
        [sys.executable, "-m", "clapas_kernels.proof", *arguments], capture_output=True, text=True, check=False
    )
    assert run.stdout.splitlines()[0].split()[:2] == ["case", "launches"]
    assert run.returncode == moved
    told = "rms_norm forward tokens=248,hidden=2048: dram is 1.0, was 0.9 (tolerance 0.005)"
    assert (told in run.stderr.splitlines()) == moved
