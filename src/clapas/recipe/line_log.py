"""A file that lines are appended to, through crashes and full disks."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LineLog:
    """Appends whole lines. What a full disk refuses waits in memory and is written, in order, with a later line.

    durable: every line is forced to the disk. A line that a crash cut short stays as it is; the next begins on a line
    of its own.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path, self._durable = path, durable
        self._waiting = b""

    def append(self, line: bytes) -> None:
        """Write a line, which ends in a newline; a reader sees it at once. Raises OSError but for want of room."""
        had_room = not self._waiting
        self._waiting += line
        self.flush()
        if self._waiting and had_room:
            print(f"{self.path}: no room; what is written waits in memory, and the run goes on", file=sys.stderr)

    def flush(self) -> None:
        """Try again to write what waits."""
        if not self._waiting:
            return
        try:
            self._write(self._waiting)
        except OSError as problem:
            if problem.errno not in NO_ROOM:
                raise
        else:
            self._waiting = b""

    def _write(self, data: bytes) -> None:
        """All of it, or nothing: what a full disk took of it is cut off again."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                data = b"\n" + data
            try:
                written = 0
                while written < len(data):
                    written += os.write(handle, data[written:])
                if self._durable:
                    os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)
