"""The GPUs of this machine: do they answer, has their memory failed, are they held back?"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

from clapas.launch.doctor.ask import ask
from clapas.launch.doctor.finding import Case, Finding
from clapas.launch.doctor.vendor import vendor_here

ECC_FIELD = "ecc.errors.uncorrected.volatile.total"
THROTTLES = {
    "hw_thermal_slowdown": "too hot, by the hardware",
    "sw_thermal_slowdown": "too hot, by the driver",
    "hw_power_brake_slowdown": "held by the node's power supply",
}
"""What `nvidia-smi` says to be "Active" while it lowers the clocks. A power cap is none of them: under load it is
reached as a rule."""
THROTTLE_FIELDS = ("clocks_event_reasons", "clocks_throttle_reasons")
"""What these fields' names begin with in `nvidia-smi --help-query-gpu`: today, and with drivers before 535."""
REMAPPED = ("remapped_rows.pending", "remapped_rows.failure")
"""Of `--query-remapped-rows`: since Ampere, rows of memory that failed are exchanged at the next reset."""


def accelerators(case: Case) -> Iterator[Finding]:
    """All checks of this machine's GPUs."""
    vendor = vendor_here()
    if vendor is None:
        here = "none: training on the CPU, over gloo" if case.partition is None else "none here: a login node, perhaps"
        yield Finding("accelerator", "ok", here)
    elif vendor == "nvidia":
        yield from nvidia()
    else:
        yield from amd()


def nvidia() -> Iterator[Finding]:
    """NVIDIA's, by `nvidia-smi` and the fields that it documents."""
    names = ask("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    if names.output is None:
        why = "the driver does not answer: no GPU can be used"
        yield Finding("accelerator", "failure", names.reason, why, "nvidia-smi; else ask for another node")
        return
    rows = names.output.strip().splitlines()
    yield Finding("accelerator", "ok", f"{len(rows)} × {', driver '.join(rows[0].split(', ')) if rows else '?'}")
    yield _nvidia_ecc()
    yield _nvidia_rows()
    yield _nvidia_throttle()


def _nvidia_ecc() -> Finding:
    answer = ask("nvidia-smi", f"--query-gpu=index,{ECC_FIELD}", "--format=csv,noheader")
    if answer.output is None:
        return Finding("GPU memory errors", "skipped", answer.reason)
    counts = dict(_cells(line) for line in answer.output.strip().splitlines())
    bad = {gpu: count for gpu, count in counts.items() if count.isdecimal() and int(count) > 0}
    if bad:
        found = "; ".join(f"GPU {gpu}: {count} since the driver was loaded" for gpu, count in bad.items())
        why = "uncorrected: what was computed with that memory is wrong, or its process was killed (Xid 48, 63, 64)"
        return Finding("GPU memory errors", "failure", found, why, _elsewhere())
    if not any(count.isdecimal() for count in counts.values()):
        return Finding("GPU memory errors", "skipped", "the GPUs do not count them (ECC is off, or not there)")
    return Finding("GPU memory errors", "ok", "no uncorrected one since the driver was loaded")


def _nvidia_rows() -> Finding:
    answer = ask("nvidia-smi", f"--query-remapped-rows={','.join(REMAPPED)}", "--format=csv,noheader")
    if answer.output is None:
        return Finding("GPU memory rows", "skipped", answer.reason)
    rows = [[cell.strip().lower() for cell in line.split(",")] for line in answer.output.strip().splitlines()]
    if any(cell in ("yes", "1") for row in rows for cell in row):
        found = "; ".join(f"GPU {number}: pending {row[0]}, failed {row[-1]}" for number, row in enumerate(rows))
        why = "memory that failed is not exchanged yet: errors come back until the GPU is reset"
        return Finding("GPU memory rows", "failure", found, why, _elsewhere())
    return Finding("GPU memory rows", "ok", "none waits to be exchanged")


def _nvidia_throttle() -> Finding:
    for prefix in THROTTLE_FIELDS:
        fields = ",".join(f"{prefix}.{reason}" for reason in THROTTLES)
        answer = ask("nvidia-smi", f"--query-gpu=index,{fields}", "--format=csv,noheader")
        if answer.output is not None:
            return _throttle_finding(answer.output)
    return Finding("GPU clocks", "skipped", "nvidia-smi does not know the fields that say what holds them back")


def _throttle_finding(output: str) -> Finding:
    held = []
    for line in output.strip().splitlines():
        gpu, *states = [cell.strip() for cell in line.split(",")]
        held += [
            f"GPU {gpu}: {reason}"
            for reason, state in zip(THROTTLES.values(), states, strict=False)
            if state.lower() == "active"
        ]
    if held:
        why = "one slow GPU slows all ranks: they wait for it in every step"
        return Finding("GPU clocks", "warning", "; ".join(held), why, _elsewhere())
    return Finding("GPU clocks", "ok", "none is held back by heat or the power supply")


def amd() -> Iterator[Finding]:
    """AMD's, by `amd-smi`'s JSON."""
    answer = ask("amd-smi", "metric", "--ecc", "--json")
    if answer.output is None:
        yield Finding("accelerator", "skipped", f"AMD's driver is loaded; {answer.reason}")
        return
    yield from amd_findings(answer.output)


def amd_findings(output: str) -> Iterator[Finding]:
    """What `amd-smi metric --ecc --json` says: a list with an entry a GPU, since ROCm 7 under `gpu_data`."""
    counts = _amd_counts(output)
    if counts is None:
        yield Finding("GPU memory errors", "skipped", "amd-smi's JSON is not as known here")
        return
    yield Finding("accelerator", "ok", f"{len(counts)} of AMD's")
    bad = {gpu: count for gpu, count in counts.items() if count}
    if bad:
        found = "; ".join(f"GPU {gpu}: {count} since the driver was loaded" for gpu, count in bad.items())
        why = "uncorrected: what was computed with that memory is wrong, or its process was killed"
        yield Finding("GPU memory errors", "failure", found, why, _elsewhere())
    elif any(count is not None for count in counts.values()):
        yield Finding("GPU memory errors", "ok", "no uncorrected one since the driver was loaded")
    else:
        yield Finding("GPU memory errors", "skipped", "the GPUs do not count them")
    yield Finding("GPU clocks", "skipped", "not asked of AMD's GPUs: older ones do not say what holds them back")


def _amd_counts(output: str) -> dict[str, int | None] | None:
    """GPU -> uncorrected errors (None: it does not count them); None where the JSON has another shape."""
    try:
        values: Any = json.loads(output)
        entries = values["gpu_data"] if isinstance(values, dict) else values
        counts = {str(entry["gpu"]): entry["ecc"]["total_uncorrectable_count"] for entry in entries}
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
    return {gpu: count if isinstance(count, int) else None for gpu, count in counts.items()}


def _cells(line: str) -> tuple[str, str]:
    gpu, _, rest = line.partition(",")
    return gpu.strip(), rest.strip()


def _elsewhere() -> str:
    return f"ask for another node (`#SBATCH --exclude={socket.gethostname()}`) and tell the administrators"
