"""`folder:` the files of a folder that match a pattern."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources.local import parts_of_files, read_files
from clapas_data.sources.part import Part, RawDocument


def files(name: str, source: Source) -> list[str]:
    """The folder's files that match, sorted. Raises UserError where there are none."""
    assert source.folder is not None
    return _files_of_folder(name, source.folder, source.pattern or "**/*.txt")


def parts(name: str, source: Source) -> list[Part]:
    """Small files together, large ones cut."""
    return parts_of_files(source, files(name, source), str(source.folder))


def read(part: Part) -> Iterator[RawDocument]:
    """The documents of a part's files, named by their paths within the folder."""
    return read_files(part)


def _files_of_folder(name: str, folder: Path, pattern: str) -> list[str]:
    if not folder.is_dir():
        raise UserError(f"source {name}: no such folder", where=folder)
    try:
        found = sorted(str(path) for path in folder.glob(pattern) if path.is_file())
    except (NotImplementedError, ValueError) as error:
        wanted = "one relative to the folder, such as **/*.txt"
        raise UserError(f"source {name}: not a pattern: {error}", where=folder, found=pattern, wanted=wanted) from None
    if not found:
        raise UserError(f"source {name}: no file matches {pattern}", where=folder)
    return found
