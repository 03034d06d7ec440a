"""Measure one case: its traffic where this process interprets, its machine code where it compiles.

The two exclude each other: triton decides at its import. So `python -m clapas_kernels.proof.measure traffic CASE ...`
and `... static CASE ... --target sm_90` each run in a process of their own, and print JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import warnings
from dataclasses import dataclass
from typing import Any

from clapas_kernels.proof.cases import Case, all_cases
from clapas_kernels.target import ASSUMED_ON_CPU, TARGETS, assume


@dataclass(frozen=True, slots=True)
class MeasuredTraffic:
    """What a case moved; issued, sectors and dram are over its minimal bytes.

    launches: of Triton; aten: operators beside them that moved anything.
    fault: what the meter found a kernel to do that it may not, or None.
    """

    launches: int
    aten: int
    issued: float
    sectors: float
    dram: float
    fault: str | None


def traffic_of(case: Case) -> MeasuredTraffic:
    """Run a case under the traffic meter, races looked for, its inputs guarded, its overflows errors."""
    from triton.runtime.errors import InterpreterError

    from clapas_kernels.proof.interpreter import overflow_checked
    from clapas_kernels.proof.touched import MeterError
    from clapas_kernels.proof.traffic import Traffic

    launch = case.make()
    written = {tensor.data_ptr() for tensor in launch.written}
    guarded = [tensor for tensor in launch.inputs if tensor.data_ptr() not in written]
    traffic, fault = Traffic(races=True, read_only=guarded), None
    with assume(ASSUMED_ON_CPU, case.multiprocessors), traffic, overflow_checked():
        try:
            launch.call()
        except (MeterError, InterpreterError) as error:
            fault = _root(error)
    ratios = {what: round(traffic.total(what) / launch.minimal_bytes, 4) for what in ("issued", "sectors", "dram")}
    return MeasuredTraffic(traffic.count("triton"), traffic.count("aten"), **ratios, fault=fault)


def _root(error: BaseException) -> str:
    """The first cause: the interpreter wraps an error once for each function that it passes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def static_of(case: Case, target: str) -> dict[str, dict[str, Any]]:
    """Compile each kernel of a case for one target: its name -> `static.Compiled`, without what the key says."""
    from clapas_kernels.proof.static import captured, compiled

    kernels: dict[str, dict[str, Any]] = {}
    for launch in captured(TARGETS[target], case.make().call):
        row = dataclasses.asdict(compiled(launch))
        name = row.pop("kernel")
        del row["target"]
        while name in kernels and kernels[name] != row:
            name += "'"
        kernels[name] = row
    return kernels


def main() -> None:
    """Print JSON: case -> its traffic, or case -> target -> kernel -> what it is."""
    parser = argparse.ArgumentParser(prog="python -m clapas_kernels.proof.measure", description=__doc__)
    parser.add_argument("what", choices=("traffic", "static"))
    parser.add_argument("cases", nargs="*", help="names of cases; none: all")
    parser.add_argument("--target", default=",".join(TARGETS))
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="TRITON_DEFAULT_FP_FUSION")
    cases = {case.name: case for case in all_cases()}
    if unknown := set(asked.cases) - cases.keys():
        parser.error(f"no case is named {sorted(unknown)[0]!r}; there are: {'; '.join(cases)}")
    chosen = [cases[name] for name in asked.cases or cases]
    if asked.what == "traffic":
        found: dict[str, Any] = {case.name: dataclasses.asdict(traffic_of(case)) for case in chosen}
    else:
        targets = asked.target.split(",")
        found = {
            case.name: {target: static_of(case, target) for target in targets if target in case.targets}
            for case in chosen
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
