"""The whole proof: every case measured by both meters, held against what is claimed, and printed as one table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from clapas_kernels.proof.cases import Case

Report = dict[str, dict[str, Any]]
"""Case -> {"traffic": `measure.MeasuredTraffic`, "static": target -> kernel -> what it is}."""


class MeasuringError(RuntimeError):
    """A process that measures ended with an error; the message is its own."""


def measured(cases: Sequence[Case], targets: Sequence[str]) -> Report:
    """Both meters, each in a process of its own, at the same time. No targets: the traffic alone."""
    names = [case.name for case in cases]
    running = {"traffic": _start("traffic", names, interprets=True)}
    if targets:
        running["static"] = _start("static", [*names, "--target", ",".join(targets)], interprets=False)
    found = {what: _result(process) for what, process in running.items()}
    return {name: {what: parts[name] for what, parts in found.items()} for name in names}


def _start(what: str, arguments: list[str], interprets: bool) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    if interprets:
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "clapas_kernels.proof.measure", what, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str]) -> Any:
    output, errors = process.communicate()
    if process.returncode:
        raise MeasuringError(errors)
    return json.loads(output)


def broken_claims(cases: Sequence[Case], report: Report) -> Iterator[str]:
    """A sentence for each claim that the report does not bear out: no output, no fault."""
    for case in cases:
        traffic = report[case.name]["traffic"]
        if traffic["fault"]:
            yield f"{case.name}: {traffic['fault']}"
        if traffic["dram"] > case.ratio_at_most:
            yield f"{case.name}: moves {traffic['dram']:.3f} of the minimal bytes; at most {case.ratio_at_most}"
        for target, kernels in report[case.name].get("static", {}).items():
            for kernel, row in kernels.items():
                yield from (f"{case.name}: {kernel} on {target} {complaint}" for complaint in _complaints(case, row))


def _complaints(case: Case, row: dict[str, Any]) -> Iterator[str]:
    if row["spilled"]:
        yield f"spills {row['spilled']} bytes a thread"
    if row["occupancy"] < case.occupancy_at_least:
        yield f"reaches {row['occupancy']:.0%} occupancy; at least {case.occupancy_at_least:.0%}"
    if row["wide"] < case.wide_at_least:
        share = f"{row['wide']:.0%} of its bulk bytes 128 bits wide ({row['accesses']})"
        yield f"moves {share}; at least {case.wide_at_least:.0%}"


def as_json(report: dict[str, Any], depth: int = 0) -> str:
    """JSON with a line for each kernel on each target, so that a difference of two reports can be read."""
    if not all(isinstance(value, dict) for value in report.values()):
        return json.dumps(report)
    start, end = "\n" + " " * (depth + 1), "\n" + " " * depth
    entries = (f"{json.dumps(name)}: {as_json(value, depth + 1)}" for name, value in report.items())
    return f"{{{start}{(',' + start).join(entries)}{end}}}" if report else "{}"


COLUMN_WIDTH = 22


def as_text(report: Report) -> str:
    """A line of traffic for each case, and below it a line for each kernel with a column for each target."""
    targets = list(dict.fromkeys(target for parts in report.values() for target in parts.get("static", {})))
    width = 2 + max(map(len, ("case", *report)))
    head = f"{'case':{width}}{'launches':>9}{'ATen':>6}{'issued':>8}{'sectors':>9}{'DRAM':>7}"
    below = f"{'  kernel':{width}}" + "".join(f"{target:>{COLUMN_WIDTH}}" for target in targets)
    units = f"{'':{width}}" + "".join(f"{'regs spill occ. wide':>{COLUMN_WIDTH}}" for _ in targets)
    lines = [head, below, units] if targets else [head]
    for name, parts in report.items():
        lines.append(f"{name:{width}}{_traffic_line(parts['traffic'])}")
        lines += (f"  {line}" for line in _static_lines(parts.get("static", {}), targets, width - 2))
    return "\n".join(lines)


def _traffic_line(row: dict[str, Any]) -> str:
    ratios = f"{row['issued']:8.3f}{row['sectors']:9.3f}{row['dram']:7.3f}"
    line = f"{row['launches']:9}{row['aten']:6}{ratios}"
    return f"{line}  {row['fault']}" if row["fault"] else line


def _static_lines(static: dict[str, dict[str, Any]], targets: Sequence[str], width: int) -> Iterator[str]:
    kernels = dict.fromkeys(kernel for rows in static.values() for kernel in rows)
    for kernel in kernels:
        cells = (_cell(static.get(target, {}).get(kernel)) for target in targets)
        yield f"{kernel:{width}}" + "".join(f"{cell:>{COLUMN_WIDTH}}" for cell in cells)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['registers']} {row['spilled']:4} {row['occupancy']:4.0%} {row['wide']:4.2f}"
