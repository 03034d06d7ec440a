"""Files that a step's options name (lists, evaluation sets, models): found, hashed, and read line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash

Paths = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value), Field(min_length=1)
]
"""One path or several, globs allowed."""


def absolute(base: Path, path: str) -> str:
    """A path of a corpus file made absolute, from the corpus file's folder."""
    return str((base / Path(path).expanduser()).absolute())


def matching(patterns: Iterable[str], what: str) -> list[Path]:
    """The files of some paths and globs, in the order given, those of a glob sorted. Raises UserError where none is."""
    found: list[Path] = []
    for pattern in patterns:
        matches = [pattern] if Path(pattern).is_file() else sorted(glob(pattern, recursive=True))  # noqa: PTH207
        files = [Path(path) for path in matches if Path(path).is_file()]
        if not files:
            raise UserError(f"{what}: no such file", where=pattern, wanted="a file's path, or a glob that matches one")
        found += [path for path in files if path not in found]
    return found


def content_of(paths: Iterable[Path]) -> list[str]:
    """The SHA-256 of each file: what a step that reads them is known by."""
    return [_hash(path, *signature(path)) for path in paths]


def signature(path: Path) -> tuple[int, int]:
    """Bytes and time of change: whether a file is the one that was read before, in this process."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=1024)
def _hash(path: Path, size: int, changed: int) -> str:
    return file_hash(path)


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """A list's entries: `FILE:LINE` and the line; empty ones and those that begin with `#` are left out.

    Raises UserError for what is not UTF-8.
    """
    for number, raw in enumerate(path.read_bytes().split(b"\n"), 1):
        where = f"{path}:{number}"
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise UserError(
                "not UTF-8", where=where, found=f"byte {raw[error.start]:#04x}", way_out="iconv -f latin1 -t utf8 FILE"
            ) from None
        if line.strip() and not line.startswith("#"):
            yield where, line
