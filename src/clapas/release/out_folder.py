"""The folder of an export, an import or a release: it appears whole, and whoever is killed leaves nothing for long."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clapas.recipe.errors import UserError
from clapas.recipe.files import new_folder
from clapas_data.files import make_folder, remove_partials

ENDS = (signal.SIGTERM, signal.SIGHUP)
"""Asked for by schedulers and `kill`, and by a terminal that goes."""


@contextmanager
def out_folder(out: Path) -> Iterator[Path]:
    """`new_folder`, removed also where the process is told to end (SIGTERM, SIGHUP: exit 128 + the signal's number).

    First it removes what earlier ones, killed outright (SIGKILL), left half made beside it: never what a process that
    is alive, or this one, is making. Raises UserError where the folders that it lies in cannot be made.
    """
    make_folder(out.parent)
    remove_partials(out.parent)
    with _unwinding(), new_folder(out) as folder:
        yield folder


def refuse_to_replace(out: Path) -> None:
    """Raise UserError where `out` is a file or holds anything: what stands there may be published."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        found = "files" if out.is_dir() else "a file"
        raise UserError("will not be replaced", where=out, found=found, wanted="a new or empty folder")


@contextmanager
def _unwinding() -> Iterator[None]:
    """The process ends as by Ctrl-C, not on the spot, unless somebody else deals with these signals already."""
    is_main = threading.current_thread() is threading.main_thread()  # no other may ask for signals
    own = [number for number in ENDS if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in own:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in own:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: Any) -> None:
    for other in ENDS:  # once is enough: another must not interrupt the cleaning up
        signal.signal(other, signal.SIG_IGN)
    print(f"clapas: told to end ({signal.Signals(number).name}); nothing is left half written", file=sys.stderr)
    raise SystemExit(128 + number)
