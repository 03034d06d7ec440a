"""Which module reads which kind of source, and what all kinds share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash
from clapas_data.corpus import Source
from clapas_data.formats.extract import PACKAGES
from clapas_data.optional import versions
from clapas_data.sources import debian, folder, hub, megatron, named, npm
from clapas_data.sources.part import Part, RawDocument


class Kind(Protocol):
    """What the module of a kind of source offers."""

    def files(self, name: str, source: Source) -> list[str]:
        """The local files that the source reads, in its order; none where a hash or a revision identifies it."""
        ...

    def parts(self, name: str, source: Source) -> list[Part]:
        """The source, cut into parts; fetched where it must be."""
        ...

    def read(self, part: Part) -> Iterator[RawDocument]:
        """The documents of a part."""
        ...


KINDS: dict[str, Kind] = {
    "folder": folder,
    "files": named,
    "datasets": hub,
    "megatron": megatron,
    "npm": npm,
    "debian": debian,
}


def source_identity(name: str, source: Source) -> dict[str, Any]:
    """What tells whether a source is the one that was read before: a pinned hash or revision, else sizes and times; and
    the version of what finds text in it."""
    paths = KINDS[source.kind].files(name, source)
    _refuse_names_not_utf8(name, paths)
    found = [(path, stat.st_size, stat.st_mtime_ns) for path in paths for stat in [Path(path).stat()]]
    packages = versions(name for extractor, name in PACKAGES.items() if extractor == source.extract)
    return {"reading": source.reading(), "files": found, "packages": packages}


def source_facts(name: str, source: Source) -> dict[str, Any]:
    """What a manifest keeps of a local source's files: how many, their bytes, and a hash of their names and sizes.

    Names count from the folder that all lie in, and no time does: the same files give the same facts on any machine.
    Empty where a hash or a revision says which text it is.
    """
    paths = KINDS[source.kind].files(name, source)
    if not paths:
        return {}
    base = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120 - strings, as the names are
    sizes = [[Path(os.path.relpath(path, base)).as_posix(), Path(path).stat().st_size] for path in paths]
    return {"files": len(sizes), "bytes": sum(size for _, size in sizes), "listing": content_hash(sizes)}


def source_parts(name: str, source: Source) -> list[Part]:
    """Cut a source into parts, fetching it where it must be. Raises UserError where it is missing."""
    parts = KINDS[source.kind].parts(name, source)
    _refuse_names_not_utf8(name, [path for part in parts for path in part.paths])
    stat = cache(lambda path: Path(path).stat())
    return [
        replace(
            part,
            sizes=tuple(stat(path).st_size for path in part.paths),
            times=tuple(stat(path).st_mtime_ns for path in part.paths),
        )
        for part in parts
    ]


def read_part(part: Part) -> Iterator[RawDocument]:
    """The documents of a part. Raises UserError, with file and place, where they are not what the corpus file says, or
    where a file has vanished or changed since it was listed."""
    _refuse_changed(part)
    try:
        yield from KINDS[part.source.kind].read(part)
    except (UserError, FileNotFoundError):
        _refuse_changed(part)  # the reason behind it
        raise
    _refuse_changed(part)


def _refuse_names_not_utf8(name: str, paths: list[str]) -> None:
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            way_out = "rename it, or all that a folder holds: convmv -r -f latin1 -t utf8 --notest FOLDER"
            raise UserError(f"source {name}: a file name that is not UTF-8", where=path, way_out=way_out) from None


def _refuse_changed(part: Part) -> None:
    for path, size, changed in zip(part.paths, part.sizes, part.times, strict=False):
        try:
            stat = Path(path).stat()
        except FileNotFoundError:
            stat = None
        if stat is None or (stat.st_size, stat.st_mtime_ns) != (size, changed):
            same_size = stat is not None and stat.st_size == size
            raise UserError(
                "vanished while the source was read" if stat is None else "changed while the source was read",
                where=path,
                found="no file" if stat is None else "other bytes" if same_size else f"{stat.st_size:,} bytes",
                wanted=f"{size:,} bytes, as when it was listed",
                way_out="run this again once nobody writes there: what was read before is kept",
            )
