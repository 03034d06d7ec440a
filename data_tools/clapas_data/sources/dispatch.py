"""Which module reads which kind of source, and what all kinds share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources import files, folder, hub, npm
from clapas_data.sources.part import Part, RawDocument


class Kind(Protocol):
    """What the module of a kind of source offers."""

    def files(self, name: str, source: Source) -> list[str]:
        """The local files that the source reads, in its order; none where it is not local."""
        ...

    def parts(self, name: str, source: Source) -> list[Part]:
        """The source, cut into parts; fetched where it must be."""
        ...

    def read(self, part: Part) -> Iterator[RawDocument]:
        """The documents of a part."""
        ...


KINDS: dict[str, Kind] = {"folder": folder, "files": files, "datasets": hub, "npm": npm}


def source_identity(name: str, source: Source) -> dict[str, Any]:
    """What tells whether a source is the one that was read before: a pinned hash or revision, else sizes and times."""
    paths = KINDS[source.kind].files(name, source)
    _refuse_names_not_utf8(name, paths)
    found = [(path, stat.st_size, stat.st_mtime_ns) for path in paths for stat in [Path(path).stat()]]
    return {"reading": source.reading(), "files": found}


def source_parts(name: str, source: Source) -> list[Part]:
    """Cut a source into parts, fetching it where it must be. Raises UserError where it is missing."""
    parts = KINDS[source.kind].parts(name, source)
    _refuse_names_not_utf8(name, [path for part in parts for path in part.paths])
    return parts


def read_part(part: Part) -> Iterator[RawDocument]:
    """The documents of a part. Raises UserError, with file and line, where they are not what the corpus file says."""
    return KINDS[part.source.kind].read(part)


def _refuse_names_not_utf8(name: str, paths: list[str]) -> None:
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            way_out = "rename it, or all that a folder holds: convmv -r -f latin1 -t utf8 --notest FOLDER"
            raise UserError(f"source {name}: a file name that is not UTF-8", where=path, way_out=way_out) from None
