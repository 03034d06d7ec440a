"""What the extractors of files give: documents, each `(id, text)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

Document = tuple[str, str]
"""The id is the source's own, or the file's name."""
FileExtractor = Callable[[bytes, str], Iterator[Document]]
"""From a file's bytes and name, for messages and ids, to its documents."""
