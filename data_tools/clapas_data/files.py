"""Files and folders that several processes may want at once, and that a killed one must not leave half made."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas.recipe.files import is_being_made, partial_of, sync_file, sync_folder
from clapas.recipe.locks import take_lock

LOCK = ".lock"
PARTIAL = re.compile(r".*\.partial-(?:(?P<host>.+)-)?(?P<pid>\d+)(?:-\w{8})?$")
"""As `clapas.recipe.files.partial_of` names them, of a partial folder too; `atomic_write` adds eight letters."""
FOREIGN_SECONDS = 86_400
"""After which a partial file or folder of another machine, if nothing in it was written since, counts as abandoned."""


def make_folder(path: Path, way_out: str = "choose another place") -> None:
    """Make a folder and those that it lies in, where they are not there. Raises UserError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError("a file is in the way", where=path, wanted="a folder", way_out=way_out) from None
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(f"cannot make this folder: {error.strerror}", where=path, way_out=way_out) from None


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file that appears whole at the end of the block: write to the path yielded. Removed on an error."""
    partial = partial_of(path)
    try:
        yield partial
        sync_file(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_partials(folder: Path) -> None:
    """Remove the files and folders that killed processes left half written here.

    Those of processes that are alive stay, and those of other machines for a day: nobody can tell.
    """
    for path in folder.glob(".*.partial-*"):
        if _may_be_written(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _may_be_written(partial: Path) -> bool:
    """Whether the process that makes a partial file or folder may still be at it; this process knows its folders."""
    match = PARTIAL.match(partial.name)
    if match is None:
        return False
    if match["host"] not in (None, os.uname().nodename):
        return time.time() - _last_written(partial) < FOREIGN_SECONDS
    if int(match["pid"]) == os.getpid():
        return is_being_made(partial)
    try:
        os.kill(int(match["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, alive
        pass
    return True


def _last_written(partial: Path) -> float:
    """When anything in a file or folder was last changed, in seconds."""
    times = [0.0]
    for path in (partial, *partial.rglob("*")):
        with suppress(FileNotFoundError):
            times.append(path.stat(follow_symlinks=False).st_mtime)
    return max(times)


@contextmanager
def locked(folder: Path, *, refuse: str | None = None) -> Iterator[None]:
    """Work on a folder alone; a second process waits, or gets a UserError where `refuse` names the work.

    The lock is the system's: it goes with the process, however that ends.
    """
    try:
        handle = take_lock(folder / LOCK, wait=refuse is None)
    except BlockingIOError:
        raise UserError(f"{refuse} is already running here", where=folder, way_out="wait for it, or stop it") from None
    try:
        yield
    finally:
        os.close(handle)
