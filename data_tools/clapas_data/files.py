"""Files and folders that several processes may want at once, and that a killed one must not leave half made."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas.recipe.files import sync_file, sync_folder


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file that appears whole at the end of the block: write to the path yielded. Removed on an error."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield partial
        sync_file(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes left half written. The caller holds the folder's lock."""
    for path in folder.rglob(".*.partial-*"):
        path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, *, refuse: str | None = None) -> Iterator[None]:
    """Work on a folder alone; a second process waits, or gets a UserError where `refuse` names the work.

    The lock is the system's: it goes with the process, however that ends.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if refuse else 0))
        yield
    except BlockingIOError:
        raise UserError(f"{refuse} is already running here", where=folder, way_out="wait for it, or stop it") from None
    finally:
        os.close(handle)
