"""Files that are never half written: each appears whole, under its name, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file by a temporary one in the same folder, fsync and rename. Leaves nothing behind on an error."""
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{partial_of(path).name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~current_umask())  # mkstemp gives 0600: a shared run folder needs the umask's
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


_making: set[Path] = set()
"""Partial folders that this process is at."""


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that appears whole at the end: built beside it (`partial_of`), renamed, or removed on an error.

    Raises FileExistsError at the end where `path` has meanwhile become a non-empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    _making.add(partial.resolve())
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                sync_file(file)
        partial.rename(path)  # replaces an empty folder, refuses any other
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        _making.discard(partial.resolve())
    sync_folder(path.parent)


def is_being_made(partial: Path) -> bool:
    """Whether this process is at a partial folder, and it is not one that an earlier process of its number left."""
    return partial.resolve() in _making


def partial_of(path: Path) -> Path:
    """Where a file or folder is made before it is whole: `.NAME.partial-HOST-PID` beside it, so that another process
    can tell whether its maker is still at it."""
    return path.with_name(f".{path.name}.partial-{os.uname().nodename}-{os.getpid()}")


def sync_file(path: Path) -> None:
    """Force a file's content to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Force a folder's entries (a rename in it) to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def current_umask() -> int:
    """The process's umask, which the system only tells by changing it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
