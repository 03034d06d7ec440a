"""Files read whole: one document each, or what `extract` finds in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clapas_data.sources.limits import tell_left_out
from clapas_data.sources.opened import open_file, packed, read_document
from clapas_data.sources.part import PART_BYTES, Part, RawDocument, documents_of_file, within

ENDINGS = packed(".txt", ".md", ".html", ".htm", ".xhtml", ".xml", ".nxml", ".tei")
"""What `files:` takes for such a file; a `folder:` reads whatever its pattern matches."""


def groups(paths: list[str]) -> Iterator[tuple[str, ...]]:
    """Small files together, up to a part's size."""
    group: list[str] = []
    size = 0
    for path in paths:
        group.append(path)
        size += Path(path).stat().st_size
        if size >= PART_BYTES:
            yield tuple(group)
            group, size = [], 0
    if group:
        yield tuple(group)


def read(part: Part) -> Iterator[RawDocument]:
    """The documents of a part's files."""
    for path in part.paths:
        name = within(part, path)
        with open_file(path) as file:
            data = read_document(file.read)
        if data is None:
            tell_left_out(path)
            yield RawDocument(name, name, "", 0)
        else:
            yield from documents_of_file(part.source, data, path, name)
