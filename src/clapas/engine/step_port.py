"""At which port the ranks of a Slurm step meet. Knows no torch: the batch script asks it too."""

from __future__ import annotations

import socket

FIRST_PORT = 15_000
"""The lowest port of a Slurm step's; the highest lies under 32768, where Linux takes ports for outgoing connections."""
PORTS = 16_993
"""How many there are: a prime, so that jobs spread over all of them."""
STEPS_APART = 64
"""Ports between one job and the next, so that a job's steps do not meet its neighbours'."""


def step_port(job: int, step: int) -> int:
    """A port for a Slurm step: its own among the steps of this job and of the jobs around it."""
    return FIRST_PORT + (STEPS_APART * job + step) % PORTS


def free_port(job: int) -> int:
    """The first of a job's own ports that nothing on this machine listens on. Raises OSError where all are taken."""
    for step in range(STEPS_APART):
        port = step_port(job, step)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"none of {STEPS_APART} ports from {step_port(job, 0)} on is free")
