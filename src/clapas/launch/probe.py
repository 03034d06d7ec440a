"""A small job that measures what lies between the ranks of a run: `srun python -m clapas.launch.probe`.

Every rank of an allocation runs it, under srun, torchrun or `clapas doctor --probe`. It says how far the nodes' clocks
are apart, whether their ports can be reached, and how fast an all-reduce is. Rank 0 prints one line of JSON, which
`clapas doctor --probe` compares with the site's sheet.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import time
from contextlib import ExitStack
from typing import Any

import torch
import torch.distributed as dist

from clapas.engine.ranks import Ranks, start_ranks, stop_ranks
from clapas.engine.step_port import FIRST_PORT, PORTS
from clapas.launch.doctor.network import MARK

ROUNDS = 20
"""Exchanges of a node with the first one, of which the fastest says how their clocks differ."""
PORTS_TRIED = 5
"""Over the range that ranks meet at (`clapas.engine.step_port`), beside one that the system chooses."""
CONNECT_SECONDS = 5.0
GPU_BYTES, CPU_BYTES = 256 * 2**20, 16 * 2**20
"""Of the tensor that is reduced: long enough that latency does not count."""
WARM_UP, MEASURED = 3, 7


def probe(ranks: Ranks, size: int | None = None) -> dict[str, Any]:
    """What is between these ranks; the same on all of them. size: bytes that are reduced. Collective."""
    hosts: list[str] = [""] * ranks.size
    if ranks.size == 1:
        hosts = [socket.gethostname()]
    else:
        dist.all_gather_object(hosts, socket.gethostname())
    leaders = {host: hosts.index(host) for host in dict.fromkeys(hosts)}
    return {
        "ranks": ranks.size,
        "hosts": list(leaders),
        "clocks": _clocks(ranks, leaders),
        "unreachable": _unreachable(ranks, leaders),
        "all_reduce": _all_reduce(ranks, size),
    }


def _clocks(ranks: Ranks, leaders: dict[str, int]) -> dict[str, dict[str, float]]:
    """Host -> seconds that its clock is ahead of the first host's, and how well that is known: half the round trip.

    As NTP finds it (RFC 5905, section 8): the answer is taken to be written in the middle of the round trip.
    """
    first, *others = leaders.items()
    found = {first[0]: {"ahead_seconds": 0.0, "within_seconds": 0.0}}
    for host, rank in others:
        told: list[Any] = [None]
        if ranks.rank == first[1]:
            told = [_ask_clock(rank)]
        elif ranks.rank == rank:
            _answer_clock(first[1])
        dist.broadcast_object_list(told, src=first[1], device=torch.device("cpu"))
        found[host] = told[0]
    return found


def _ask_clock(rank: int) -> dict[str, float]:
    best = (float("inf"), 0.0)
    theirs = torch.zeros(1, dtype=torch.float64)
    for _ in range(ROUNDS):
        sent = time.time()
        dist.send(torch.tensor([sent], dtype=torch.float64), rank)
        dist.recv(theirs, rank)
        back = time.time()
        best = min(best, (back - sent, theirs.item() - (sent + back) / 2))
    return {"ahead_seconds": best[1], "within_seconds": best[0] / 2}


def _answer_clock(rank: int) -> None:
    asked = torch.zeros(1, dtype=torch.float64)
    for _ in range(ROUNDS):
        dist.recv(asked, rank)
        dist.send(torch.tensor([time.time()], dtype=torch.float64), rank)


def _unreachable(ranks: Ranks, leaders: dict[str, int]) -> list[str]:
    """`from -> to:port: reason` for each port of a node that another node's first rank cannot connect to."""
    if ranks.size == 1:
        return []
    is_leader = ranks.rank in leaders.values()
    own_host = next((host for host, rank in leaders.items() if rank == ranks.rank), "")
    with ExitStack() as open_sockets:
        ports = _listen(open_sockets) if is_leader else []
        everyone: list[Any] = [None] * ranks.size
        dist.all_gather_object(everyone, ports)
        failed = []
        if is_leader:
            for host, rank in leaders.items():
                if rank != ranks.rank:
                    failed += [f"{own_host} -> {problem}" for port in everyone[rank] if (problem := _try(host, port))]
        gathered: list[Any] = [None] * ranks.size
        dist.all_gather_object(gathered, failed)
    return [problem for problems in gathered for problem in problems]


def _listen(open_sockets: ExitStack) -> list[int]:
    """Ports of this node that listen until the stack closes: those that nothing else uses already."""
    ports = []
    for port in [0, *range(FIRST_PORT, FIRST_PORT + PORTS, PORTS // PORTS_TRIED)]:
        server = open_sockets.enter_context(socket.socket())
        try:
            server.bind(("", port))
        except OSError:  # in use: another job's
            continue
        server.listen()
        ports.append(server.getsockname()[1])
    return ports


def _try(host: str, port: int) -> str | None:
    """Why a port cannot be connected to; None where it can."""
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    return None


def _all_reduce(ranks: Ranks, size: int | None) -> dict[str, Any]:
    """Median seconds of an all-reduce and its bus bandwidth in GB/s (10^9 bytes).

    busbw = 2 (n - 1) / n × bytes / seconds: what a link of the ring carries, whatever the number of ranks n (NVIDIA,
    nccl-tests, doc/PERFORMANCE.md).
    """
    on_gpu = ranks.device.type == "cuda"
    size = size or (GPU_BYTES if on_gpu else CPU_BYTES)
    if ranks.size == 1:
        return {"bytes": size, "backend": "none", "seconds": None, "bus_gb_per_second": None}
    tensor = torch.ones(size // 4, device=ranks.device)
    seconds = []
    for turn in range(WARM_UP + MEASURED):
        _wait(ranks)
        begin = time.perf_counter()
        dist.all_reduce(tensor)
        if on_gpu:
            torch.cuda.synchronize()
        if turn >= WARM_UP:
            seconds.append(time.perf_counter() - begin)
        tensor.fill_(1.0)
    slowest = max(row[0] for row in ranks.gather([statistics.median(seconds)]))
    bandwidth = 2 * (ranks.size - 1) / ranks.size * size / slowest / 1e9
    backend = "nccl" if on_gpu else "gloo"
    return {"bytes": size, "backend": backend, "seconds": slowest, "bus_gb_per_second": bandwidth}


def _wait(ranks: Ranks) -> None:
    """Until all ranks are here, on the CPU."""
    ranks.sum(0.0)


def main() -> None:
    """Run as one rank; rank 0 prints what was found."""
    ranks = start_ranks()
    try:
        found = probe(ranks)
    finally:
        stop_ranks()
    if ranks.rank == 0:
        print(MARK + json.dumps(found), flush=True)
    sys.stdout.flush()
    os._exit(0)  # gloo's threads: see `clapas.cli.main`


if __name__ == "__main__":
    main()
