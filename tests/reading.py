"""Small sources for tests, and all that is read of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clapas_data.corpus import Source
from clapas_data.sources import RawDocument, read_part, source_parts


def documents(source: Source) -> list[RawDocument]:
    """All documents of a source, part after part."""
    return [document for part in source_parts("made", source) for document in read_part(part)]


def texts(source: Source) -> list[str]:
    """Their texts."""
    return [document.text for document in documents(source)]


def files(*paths: Path | str, **options: Any) -> Source:
    """A source of files."""
    return Source(files=tuple(map(str, paths)), licence="test", **options)


def lines_of(values: Iterable[str]) -> bytes:
    """JSONL of texts."""
    return b"".join(json.dumps({"text": value}, ensure_ascii=False).encode() + b"\n" for value in values)
