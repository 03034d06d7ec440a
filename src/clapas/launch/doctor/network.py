"""`--probe`: a small job on the nodes themselves (`clapas.launch.probe`), and what its answer means."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clapas.launch.doctor.ask import Answer, ask
from clapas.launch.doctor.finding import Case, Finding

MARK = "clapas-probe "
"""What the probe's line of JSON begins with, among whatever else a job prints."""
LOCAL_RANKS = 2
PROBE_SECONDS = 180.0
"""For the job itself: imports from a busy file system may take a minute."""
QUEUE_SECONDS = 900
JOB_MINUTES = 10
TOLERATED_SECONDS = 1.0
SLOW_SHARE = 0.5
"""Of the sheet's bandwidth: all-reduces of sound fabrics reach 70 to 95 %."""
BITS = 8


def probe(case: Case) -> Iterator[Finding]:
    """Run the probe where this process may: in this job, in one of the site's, or as ranks of this machine."""
    answer = _run(case)
    line = next((line for line in (answer.output or "").splitlines() if line.startswith(MARK)), None)
    if line is None:
        why = "nothing can be said of the network between the nodes"
        mend = "run `srun python -m clapas.launch.probe` in a job of yours"
        yield Finding("probe", "failure", answer.reason or "the job printed no answer", why, mend)
        return
    yield from probe_findings(json.loads(line.removeprefix(MARK)), case)


def _run(case: Case) -> Answer:
    program = (sys.executable, "-m", "clapas.launch.probe")
    if case.is_in_job:
        return ask("srun", *tasks(case), "--overlap", "--kill-on-bad-exit=1", *program, seconds=PROBE_SECONDS)
    if case.site is not None:
        options = (*tasks(case), *job_options(case), f"--immediate={QUEUE_SECONDS}", "--kill-on-bad-exit=1")
        return ask("srun", *options, *program, seconds=QUEUE_SECONDS + PROBE_SECONDS)
    return local_ranks(program)


def tasks(case: Case) -> list[str]:
    """A rank for each accelerator of the site's nodes; in a job of one's own, where no site is named, one a node."""
    each = case.partition.gpus_per_node if case.partition else 1
    nodes = [f"--nodes={max(2, case.nodes)}"] if case.site or case.nodes > 1 else []
    return [*nodes, f"--ntasks-per-node={each}"]


def job_options(case: Case) -> list[str]:
    """What Slurm is told of the site. Account and QoS are read by srun itself: SLURM_ACCOUNT, SLURM_QOS."""
    assert case.site is not None
    assert case.partition is not None
    partition = case.partition
    options = [f"--time={JOB_MINUTES}", "--job-name=clapas-probe", f"--cpus-per-task={partition.cores_per_gpu}"]
    if partition.partition:
        options.append(f"--partition={partition.partition}")
    if partition.constraint:
        options.append(f"--constraint={partition.constraint}")
    if partition.hint:
        options.append(f"--hint={partition.hint}")
    if partition.threads_per_core:
        options.append(f"--threads-per-core={partition.threads_per_core}")
    if partition.exclusive:
        options.append("--exclusive")
    if not partition.device.startswith("CPU"):
        options.append(f"--gres=gpu:{partition.gpus_per_node}")
    if interface := case.site.environment.network_interface:
        options.append(f"--export=ALL,NCCL_SOCKET_IFNAME={interface},GLOO_SOCKET_IFNAME={interface}")
    return options


def local_ranks(program: Sequence[str], ranks: int = LOCAL_RANKS) -> Answer:
    """The program as ranks of this machine, which meet through a file. All are killed after `PROBE_SECONDS`."""
    with tempfile.TemporaryDirectory(prefix="clapas-probe-") as folder:
        common = {**os.environ, "WORLD_SIZE": str(ranks), "CLAPAS_RENDEZVOUS": f"file://{folder}/rendezvous"}
        common.setdefault("OMP_NUM_THREADS", "1")
        with Path(folder, "output").open("w+") as output:
            processes = [
                subprocess.Popen(
                    program,
                    env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                for rank in range(ranks)
            ]
            try:
                codes = [process.wait(timeout=PROBE_SECONDS) for process in processes]
            except subprocess.TimeoutExpired:
                return Answer(None, f"the ranks did not end within {PROBE_SECONDS:g} s")
            finally:
                for process in processes:
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)
            output.seek(0)
            text = output.read()
    if any(codes):
        return Answer(None, f"the ranks failed: {text.strip().rpartition(chr(10))[2][:200]}")
    return Answer(text)


def probe_findings(found: dict[str, Any], case: Case) -> Iterator[Finding]:
    """What the probe's answer means."""
    hosts = found["hosts"]
    yield Finding("probe", "ok", f"{found['ranks']} ranks on {len(hosts)} node{'s' * (len(hosts) > 1)}")
    if len(hosts) > 1:
        yield _clocks(found["clocks"])
        yield _ports(found["unreachable"], hosts)
    yield _bandwidth(found["all_reduce"], len(hosts), case)


def _clocks(clocks: dict[str, dict[str, float]]) -> Finding:
    apart = {host: clock for host, clock in clocks.items() if abs(clock["ahead_seconds"]) > TOLERATED_SECONDS}
    if apart:
        told = ", ".join(f"{host} {clock['ahead_seconds']:+.1f} s" for host, clock in apart.items())
        why = f"against {next(iter(clocks))}: logs cannot be put in order, and Slurm refuses credentials 300 s apart"
        return Finding("clocks of the nodes", "warning", told, why, "tell the administrators; #SBATCH --exclude=…")
    widest = max(abs(clock["ahead_seconds"]) + clock["within_seconds"] for clock in clocks.values())
    return Finding("clocks of the nodes", "ok", f"within {1000 * widest:.1f} ms of each other")


def _ports(unreachable: list[str], hosts: list[str]) -> Finding:
    if not unreachable:
        return Finding("ports between nodes", "ok", f"every one tried, between {len(hosts)} nodes")
    told = "; ".join(unreachable[:4]) + (f"; and {len(unreachable) - 4} more" if len(unreachable) > 4 else "")
    why = "the ranks meet at a port of the first node (15000 to 31992): behind a firewall they wait until they time out"
    mend = "export MASTER_PORT=… with a port that is open, and ask the administrators which are"
    return Finding("ports between nodes", "failure", told, why, mend)


def _bandwidth(measured: dict[str, Any], nodes: int, case: Case) -> Finding:
    """Bus bandwidth against the slowest link that the ring crosses: the node's own network, or the GPUs' links."""
    check, speed = "all-reduce bandwidth", measured["bus_gb_per_second"]
    if speed is None:
        return Finding(check, "skipped", "one rank reduces nothing")
    told = f"{speed:.2f} GB/s bus bandwidth ({measured['backend']}, {measured['bytes'] / 2**20:.0f} MiB)"
    expected = expected_gb_per_second(case, nodes)
    if expected is None:
        return Finding(check, "ok", f"{told}; the sheet says nothing to compare it with")
    if speed >= SLOW_SHARE * expected:
        return Finding(check, "ok", f"{told}, {speed / expected:.0%} of the sheet's {expected:g}")
    why = f"{speed / expected:.0%} of the sheet's {expected:g} GB/s: every step waits for it"
    mend = "NCCL_DEBUG=INFO tells which transport NCCL took (NET/Socket: not InfiniBand); see NCCL_SOCKET_IFNAME"
    return Finding(check, "warning", told, why, mend)


def expected_gb_per_second(case: Case, nodes: int) -> float | None:
    """Of the site's partition: between nodes its network, within one the device's links; None where nobody says."""
    partition = case.partition
    if partition is None or partition.device.startswith("CPU"):
        return None
    from clapas.plan.hardware import read_hardware

    device = next((known for known in read_hardware() if known.name == partition.device), None)
    if nodes == 1:
        return None if device is None else device.link_gb_per_second
    gbit = partition.network_gbit_per_node or (None if device is None else device.node_gbit_per_second)
    return None if gbit is None else gbit / BITS
