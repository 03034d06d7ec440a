"""Where fetched packages and prepared text are kept: `CLAPAS_CACHE`, else `$XDG_CACHE_HOME/clapas`, else `~/.cache/clapas`.

All of it can be made again: deleting the folder costs time only.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clapas.recipe.errors import UserError


def cache_folder(*parts: str) -> Path:
    """A folder of the cache, made where missing. Raises UserError where it cannot be made."""
    base = os.environ.get("CLAPAS_CACHE")
    root = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clapas"
    folder = root.expanduser().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        way_out = "export CLAPAS_CACHE=/a/folder/of/yours"
        raise UserError(f"no cache folder: {error.strerror}", where=folder, way_out=way_out) from None
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Work on a folder alone: a second process waits. The lock goes with the process, however it ends."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_or_refused(folder: Path, what: str) -> Iterator[None]:
    """Work on a folder alone: a second process is refused with a UserError. what: the work, as in `a build`."""
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{what} is already running here", where=folder, way_out="wait for it, or stop it") from None
        yield


def remove_partials(folder: Path) -> None:
    """Remove what a killed process left half written. The caller holds the folder's lock."""
    for path in folder.glob(".*.partial-*"):
        path.unlink(missing_ok=True)
