"""Local files, each read by its ending: what `folder:` and `files:` share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Protocol

from clapas_data.corpus import ROW_EXTRACTORS, Source
from clapas_data.sources import archive, jsonl, mediawiki, parquet, warc, whole
from clapas_data.sources.part import Part, RawDocument


class Container(Protocol):
    """What the module of a kind of file with many documents offers."""

    def parts(self, source: Source, path: str) -> list[Part]:
        """A file, cut as its kind can be."""
        ...

    def read(self, part: Part) -> Iterator[RawDocument]:
        """The documents of a part of one file."""
        ...


TABLES: dict[tuple[str, ...], Container] = {jsonl.ENDINGS: jsonl, parquet.ENDINGS: parquet}
CONTAINERS: dict[tuple[str, ...], Container] = {warc.ENDINGS: warc, archive.ENDINGS: archive}
ENDINGS = (*jsonl.ENDINGS, *parquet.ENDINGS, *warc.ENDINGS, *archive.ENDINGS, *whole.ENDINGS)


def parts_of_files(source: Source, paths: list[str], base: str) -> list[Part]:
    """Files cut into parts, in their order; small ones that are read whole share a part."""
    parts: list[Part] = []
    for container, group in groupby(paths, lambda path: container_of(source, path)):
        if container is None:
            parts += [Part(source, paths_together) for paths_together in whole.groups(list(group))]
        else:
            parts += [part for path in group for part in container.parts(source, path)]
    return [replace(part, base=base) for part in parts]


def read_files(part: Part) -> Iterator[RawDocument]:
    """The documents of a part, by the ending of its files."""
    container = container_of(part.source, part.paths[0])
    return whole.read(part) if container is None else container.read(part)


def container_of(source: Source, path: str) -> Container | None:
    """What reads a file; None where it is read whole. Extractors of whole files take JSON that is no JSONL."""
    if source.extract == "mediawiki":
        return mediawiki
    known = TABLES | CONTAINERS if source.extract in ROW_EXTRACTORS else CONTAINERS
    return next((container for endings, container in known.items() if path.endswith(endings)), None)
