"""How the tasks of an srun find each other, from what Slurm tells them. The real thing is in tests/slurm."""

from __future__ import annotations

import socket

import pytest

from clapas.engine.ranks import first_host, slurm_store, start_ranks, step_port
from clapas.recipe.errors import ClapasError, UserError

EPHEMERAL = 32_768
"""From here on Linux hands out ports for outgoing connections (/proc/sys/net/ipv4/ip_local_port_range)."""


@pytest.fixture
def in_step(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    """The environment of a task that srun started in job 41, and a port that is free here."""
    for name in ("RANK", "WORLD_SIZE", "CLAPAS_RENDEZVOUS"):
        monkeypatch.delenv(name, raising=False)
    variables = {"SLURM_JOB_ID": "41", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost"}
    for name, value in {**variables, "MASTER_PORT": str(free_port)}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("node_list", "first"),
    [
        ("node[1-2]", "node1"),
        ("jean-zay-[012-015,020]", "jean-zay-012"),
        ("jean-zay-[020,022-025]", "jean-zay-020"),
        ("a,b", "a"),
        ("g1101", "g1101"),
        ("gpu-a[1-2],b3", "gpu-a1"),
        ("b3,gpu-a[1-2]", "b3"),
        ("r[1-2]n[07-12]", "r1n07"),
    ],
)
def test_the_first_host_of_a_node_list(node_list: str, first: str) -> None:
    """Ranges, lists, leading zeros and hyphens, as Slurm abbreviates them."""
    assert first_host(node_list) == first


def test_ports_of_steps_and_of_jobs_nearby_differ() -> None:
    """64 steps of each of 200 consecutive jobs, also with ids in the millions: no port twice, none of Linux's own."""
    for first_job in (1, 3_456_789):
        ports = {step_port(job, step) for job in range(first_job, first_job + 200) for step in range(64)}
        assert len(ports) == 200 * 64
        assert min(ports) > 1024
        assert max(ports) < EPHEMERAL


def test_a_port_that_is_taken_is_told(in_step: None, free_port: int) -> None:
    """Rank 0 names the port and the way out."""
    with socket.socket() as other:
        other.bind(("", free_port))
        other.listen()
        with pytest.raises(ClapasError, match=f"(?s)localhost:{free_port}.*MASTER_PORT"):
            slurm_store(rank=0, size=2)


def test_a_rank_of_another_step_on_the_same_port_is_not_heard(in_step: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step reads its own keys only; ranks of the same step read each other's."""
    ours = slurm_store(rank=0, size=2)
    peer = slurm_store(rank=1, size=2)
    monkeypatch.setenv("SLURM_STEP_ID", "1")
    stranger = slurm_store(rank=1, size=2)
    stranger.set("address", "stranger")
    assert not ours.check(["address"])
    peer.set("address", "peer")
    assert ours.get("address") == b"peer"
    assert stranger.get("address") == b"stranger"


def test_a_batch_script_of_several_tasks_needs_srun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script itself is one process with SLURM_NTASKS set: told at once, instead of waiting for ranks in vain."""
    for name in ("RANK", "WORLD_SIZE", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "0")
    with pytest.raises(UserError, match="srun clapas train"):
        start_ranks()
