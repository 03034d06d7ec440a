"""A Python that has already imported torch, DeepSpeed and Clapas, for the tests that start many processes.

Importing them takes four seconds of a core, in each rank of each run. So a server imports them once and forks for each
process that a test starts. What a test starts is a launcher, which stands for the forked process: it hands on its
arguments, folder, environment and open files, then signals, and ends as that ends. Killed, it takes it along.

Real processes all the same; but what a fresh interpreter does is not tested by them: tests of imports, of start-up and
of death by SIGKILL or SIGSTOP start `sys.executable`. There are two servers, whose strings hash differently, as they do
in any two fresh interpreters.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IMPORTED = (
    "torch._dynamo",
    "deepspeed",
    "clapas.release.release",
    "clapas.train.train",
    "clapas.evaluate.evaluate",
    "clapas.evaluate.chat_command",
)
HASH_SEEDS = (1, 2)
LAUNCHER = '''#!{python} -IS
"""Starts a process in a server of tests/warm.py and stands for it."""
import array, json, os, signal, socket, sys

HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGCONT)
sockets = {sockets!r}


def read(server):
    number = server.recv(8, socket.MSG_WAITALL)
    if len(number) < 8:
        sys.exit("the server of tests/warm.py has gone")
    return int.from_bytes(number, "little")


signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sockets[os.getpid() % len(sockets)])
    request = json.dumps(dict(arguments=sys.argv[1:], folder=os.getcwd(), environment=dict(os.environ))).encode()
    files = array.array("i", [0, 1, 2])
    server.sendmsg([len(request).to_bytes(8, "little")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
    server.sendall(request)
    pid = read(server)
    for number in HANDED_ON:
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
    status = read(server)
if os.WIFSIGNALED(status):
    if os.WTERMSIG(status) != signal.SIGKILL:
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.WEXITSTATUS(status))
'''


@contextmanager
def warm_python(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """The path of a launcher that takes the arguments of `python`: `-m clapas ...`, `-c SCRIPT ...`; others start cold.

    folder: for launcher and sockets. environment: what modules see that read it as they are imported.
    """
    sockets = [str(folder / f"{seed}.socket") for seed in HASH_SEEDS]
    launcher = folder / "python"
    launcher.write_text(LAUNCHER.format(python=sys.executable, sockets=sockets))
    launcher.chmod(0o755)
    servers = [
        subprocess.Popen(
            [sys.executable, __file__, path, str(launcher)],
            env={**environment, "PYTHONHASHSEED": str(seed)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for seed, path in zip(HASH_SEEDS, sockets, strict=True)
    ]
    try:
        for server in servers:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
        yield str(launcher)
    finally:
        for server in servers:
            server.communicate()  # closes its stdin, at which it ends


def serve(path: str, launcher: str) -> None:
    """Fork for each connection, until stdin is closed. Returns only in what it forked."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
                os._exit(0)
            client, _ = listener.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                break
            client.close()
    header, control, *_ = client.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    files = array.array("i", control[0][2])
    request = json.loads(client.recv(int.from_bytes(header, "little"), socket.MSG_WAITALL))
    if pid := os.fork():
        attend(client, pid)
    client.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    become(launcher, **request)


def attend(client: socket.socket, pid: int) -> None:
    """Tell the launcher of its process, until either ends. Does not return."""
    for number in (0, 1, 2):
        os.close(number)
    client.sendall(pid.to_bytes(8, "little"))
    ended = os.pidfd_open(pid)
    if client in select.select([client, ended], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    client.sendall(status.to_bytes(8, "little"))
    os._exit(0)


def become(launcher: str, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run what `python ARGUMENTS` would, in the place of this process's own program."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = ""  # it was this file's folder
    kind, program, *rest = [*arguments, "", ""][: max(2, len(arguments))]
    if kind == "-m" and program == "clapas":
        sys.executable, sys.argv = launcher, ["clapas", *rest]
        from clapas.cli import main

        main()
    elif kind == "-c":
        sys.executable, sys.argv = launcher, ["-c", *rest]
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(program, "<string>", "exec"), module.__dict__)
        sys.exit()
    else:
        os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    from clapas.engine.engine import import_deepspeed

    import_deepspeed()
    for name in IMPORTED:
        __import__(name)
    serve(*sys.argv[1:])
