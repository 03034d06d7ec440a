"""`clapas launch --hosts FILE`: ranks on machines that have no Slurm, over ssh.

Every host sees the same folders. This process starts one command on each, which starts that host's ranks with the
environment that torchrun gives (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT); it passes on signals, and ends all where
one ends badly.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clapas.recipe.errors import EXIT_RUN_ME_AGAIN, ClapasError, UserError
from clapas.train.local_ranks import exit_code_of
from clapas.train.stop import SIGNALS

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=30")
"""Never asks for a password; notices a dead network after about a minute and a half."""
SSH_FAILED = 255
"""ssh's own exit code."""
LINE = re.compile(r"(?P<host>[\w.@:\[\]-]+)(?:\s+ranks=(?P<ranks>\d+))?(?:\s+address=(?P<address>[\w.:-]+))?")
GRACE_SECONDS = 30.0
"""How long the hosts may take to end once one has ended badly."""
POLL_SECONDS = 0.1
FREE_PORT = "import socket; s = socket.socket(); s.bind(('', 0)); print(s.getsockname()[1])"


@dataclass(frozen=True, slots=True)
class Host:
    """A line of the file. name: for ssh. ranks: processes there. address: by which the others reach it."""

    name: str
    ranks: int
    address: str


def read_hosts(path: Path) -> list[Host]:
    """`HOST [ranks=N] [address=A]` a line; `#` begins a comment. Raises UserError."""
    if not path.is_file():
        raise UserError("no such file", where=path, wanted="a file with a host a line")
    hosts = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = LINE.fullmatch(text)
        if match is None:
            raise UserError("not a host", where=f"{path}:{number}", found=text, wanted="HOST [ranks=N] [address=A]")
        if match["ranks"] and int(match["ranks"]) < 1:
            raise UserError("no ranks", where=f"{path}:{number}", found=text, wanted="ranks=N, at least 1")
        address = match["address"] or match["host"].rpartition("@")[2]
        hosts.append(Host(match["host"], int(match["ranks"] or 1), address))
    if not hosts:
        raise UserError("no hosts", where=path, wanted="a host a line: HOST [ranks=N] [address=A]")
    if len({host.ranks for host in hosts}) > 1:
        found = ", ".join(f"{host.name}: {host.ranks}" for host in hosts)
        raise UserError("each host must have as many ranks", where=path, found=found)
    return hosts


def run_on_hosts(hosts: Sequence[Host], command: Sequence[str], threads: int | None) -> int:
    """Run `clapas COMMAND` as a rank of all. Returns the code that they agreed on, or that of the first that failed."""
    port = free_port(hosts[0])
    processes = [_start(hosts, node, port, command, threads) for node in range(len(hosts))]
    previous = {number: signal.signal(number, lambda n, _: _tell(processes, n)) for number in SIGNALS}
    try:
        return _wait(hosts, processes)
    finally:
        for process in processes:  # the end of its standard input ends what still runs there
            assert process.stdin
            process.stdin.close()
        for process in processes:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        for number, handler in previous.items():
            signal.signal(number, handler)


def free_port(host: Host) -> int:
    """A port of that host that nothing uses now. Raises UserError where ssh or Python do not work there."""
    remote = shlex.join([sys.executable, "-c", FREE_PORT])
    result = subprocess.run([*SSH, host.name, remote], capture_output=True, text=True, check=False)
    if result.returncode or not result.stdout.strip().isdigit():
        raise UserError(
            "cannot run Python there",
            where=host.name,
            found=(result.stderr or result.stdout).strip().replace("\n", "; ") or f"exit {result.returncode}",
            wanted=f"`ssh {host.name} {sys.executable} --version` without a password",
            way_out="a key without a passphrase, or ssh-agent; the same folders on every host",
        )
    return int(result.stdout)


def _start(
    hosts: Sequence[Host], node: int, port: int, command: Sequence[str], threads: int | None
) -> subprocess.Popen[bytes]:
    host = hosts[node]
    place = [node, len(hosts), host.ranks, hosts[0].address, port, threads or 0]
    words = [sys.executable, "-m", "clapas.launch.on_host", *map(str, place), *command]
    paths = shlex.quote(":".join(path for path in sys.path if path))  # a checkout that is not installed
    remote = f"cd {shlex.quote(str(Path.cwd()))} && PYTHONPATH={paths} exec {shlex.join(words)}"
    return subprocess.Popen([*SSH, host.name, remote], stdin=subprocess.PIPE, start_new_session=True)


def _tell(processes: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    """Pass a signal on to the ranks of every host."""
    for process in processes:
        if process.poll() is None and process.stdin:
            try:
                process.stdin.write(f"{number}\n".encode())
                process.stdin.flush()
            except BrokenPipeError:  # it has just ended
                continue


def _wait(hosts: Sequence[Host], processes: Sequence[subprocess.Popen[bytes]]) -> int:
    """Until all have ended, or one has ended badly and the others had their grace."""
    deadline: float | None = None
    while True:
        codes = [process.poll() for process in processes]
        bad = [code for code in codes if code and code != EXIT_RUN_ME_AGAIN]
        if SSH_FAILED in bad:
            host = hosts[codes.index(SSH_FAILED)]
            raise ClapasError("ssh has failed", where=host.name, way_out="its own message is above; then start again")
        if all(code is not None for code in codes):
            return exit_code_of(bad or [code for code in codes if code])
        if bad and deadline is None:
            deadline = time.monotonic() + GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            return exit_code_of(bad)
        time.sleep(POLL_SECONDS)
