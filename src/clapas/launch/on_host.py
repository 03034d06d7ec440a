"""The ranks of one host, started over ssh.

    python -m clapas.launch.on_host NODE NODES RANKS MASTER PORT THREADS COMMAND…

Its standard input is the launcher's hand: a line with a signal's number goes on to the ranks, and when it ends, because
the launcher or the network is gone, the ranks are told to stop: they save, and nothing is left behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from clapas.train.local_ranks import Meeting, run_ranks


def main(arguments: list[str]) -> int:
    """Returns the exit code of this host's ranks."""
    node, nodes, ranks = map(int, arguments[:3])
    host, port, threads = arguments[3], int(arguments[4]), int(arguments[5])
    threading.Thread(target=obey, daemon=True).start()
    meeting = Meeting(host, port, first_rank=node * ranks, world_size=nodes * ranks)
    return run_ranks(arguments[6:], ranks, threads or None, meeting)


def obey() -> None:
    """Send this process the signals that standard input names; TERM at its end."""
    while line := os.read(0, 100):  # not sys.stdin, whose lock the end of the interpreter wants
        for number in line.split():
            os.kill(os.getpid(), int(number))
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
