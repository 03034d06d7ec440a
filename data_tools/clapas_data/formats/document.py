"""What the extractors of files give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple


class Document(NamedTuple):
    """A document found in a file. id: the source's own, or empty, for the file's name. url: of its page, if known."""

    id: str
    text: str
    url: str = ""


FileExtractor = Callable[[bytes, str], Iterator[Document]]
"""From a file's bytes and name, for messages, to its documents."""
