"""Locks between processes: the system's, so that they go with their process however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from clapas.recipe.errors import UserError

NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}


def take_lock(path: Path, *, wait: bool) -> int:
    """Lock a file for this process, made where it is not there; closing the handle returned lets it go.

    A file of its own, open for writing: NFS emulates flock by locks that a folder or a read-only handle cannot have.
    Raises BlockingIOError where another process holds it and `wait` is false, UserError where the file system has no
    locks.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        holder = os.read(handle, 200).decode(errors="replace").strip()
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise BlockingIOError(error.errno, holder or "a process that did not leave its name") from None
        if error.errno in NO_LOCKS:
            way_out = "use a folder on a file system with locks (NFS: mounted with `lock`; Lustre: with `flock`)"
            raise UserError(f"this file system has no locks: {error.strerror}", where=path, way_out=way_out) from None
        raise
    return handle
