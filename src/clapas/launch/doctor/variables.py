"""Environment variables that slow a run, break it, or let it reach for an internet that is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator

from clapas.launch.doctor.finding import Case, Finding

HIP_DEBUG = "(HIP, environment variables: debug)"
NCCL_PAGE = "(NCCL, environment variables)"
ANY = None

SLOW: dict[str, tuple[tuple[str, ...] | None, str]] = {
    "CUDA_LAUNCH_BLOCKING": (
        ANY,
        "every kernel waits for the one before: a run at a fraction of its speed (CUDA programming guide: debugging)",
    ),
    "HIP_LAUNCH_BLOCKING": (ANY, f"every kernel waits for the one before: a fraction of the speed {HIP_DEBUG}"),
    "AMD_SERIALIZE_KERNEL": (ANY, f"the host waits before or after every kernel {HIP_DEBUG}"),
    "AMD_SERIALIZE_COPY": (ANY, f"the host waits before or after every copy {HIP_DEBUG}"),
    "NCCL_DEBUG": (("TRACE",), f"every call of every rank writes a line {NCCL_PAGE}"),
    "NCCL_P2P_DISABLE": (ANY, f"GPUs of one node exchange through host memory, not NVLink {NCCL_PAGE}"),
    "NCCL_SHM_DISABLE": (ANY, f"ranks of one node exchange through the network {NCCL_PAGE}"),
    "NCCL_IB_DISABLE": (ANY, f"nodes exchange over TCP, not InfiniBand {NCCL_PAGE}"),
    "TORCH_DISTRIBUTED_DEBUG": (
        ("DETAIL",),
        "every collective is checked by another one beforehand (torch.distributed, debugging)",
    ),
    "PYTORCH_NO_CUDA_MEMORY_CACHING": (
        ANY,
        "every tensor is allocated by the driver, which waits for the GPU (PyTorch, CUDA environment variables)",
    ),
}
"""Variable -> the values that slow a run (ANY: all but empty and 0), and why. The source stands in brackets."""


def slowing(case: Case) -> Iterator[Finding]:
    """Variables that were set to debug something, and were forgotten."""
    found = False
    for name, (values, why) in SLOW.items():
        value = case.environment.get(name, "")
        if value in ("", "0") or (values is not None and value.upper() not in values):
            continue
        found = True
        yield Finding(name, "warning", value, why, f"unset {name}")
    if not found:
        yield Finding("slowing variables", "ok", "none of those known is set")


def threads(case: Case) -> Iterator[Finding]:
    """The cores that this process may use, and no more threads than those."""
    cores = len(os.sched_getaffinity(0))
    value = case.environment.get("OMP_NUM_THREADS")
    if value is not None and value.isdecimal() and int(value) > cores:
        why = f"more threads than the {cores} cores that this process may use"
        yield Finding("OMP_NUM_THREADS", "warning", value, why, "unset OMP_NUM_THREADS")
    elif value is not None and not value.isdecimal():
        why = "not a number of threads: training reads one"
        yield Finding("OMP_NUM_THREADS", "failure", value, why, "unset OMP_NUM_THREADS")
    yield Finding("cores", "ok", str(cores))


def offline(case: Case) -> Iterator[Finding]:
    """On a site without internet, what keeps libraries from waiting for it. `launch` sets it in the job."""
    if case.site is None or case.site.environment.internet:
        return
    wanted = case.site.environment.offline
    set_here = {name: case.environment[name] for name in wanted if name in case.environment}
    other = {name: value for name, value in set_here.items() if value != wanted[name]}
    missing = [name for name in wanted if name not in set_here] if case.is_in_job else []
    why = f"compute nodes of {case.site.name} have no internet: a library that asks for it hangs until it times out"
    for name in other:
        yield Finding(name, "failure", other[name], why, f"export {name}={wanted[name]}")
    for name in missing:
        yield Finding(name, "warning", "not set in this job", why, f"export {name}={wanted[name]}")
    if not other and not missing:
        where = "set" if case.is_in_job else "none contradicts the site's; the job sets them"
        yield Finding("offline variables", "ok", where)
