"""The processes that write or open a checkpoint together, as far as a checkpoint needs to know them."""

from __future__ import annotations

from typing import Protocol


class Place(Protocol):
    """Which of the files of a checkpoint is written."""

    @property
    def rank(self) -> int:
        """The file's number, from 0: its writer's rank."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...


class Ranks(Place, Protocol):
    """One of several processes. Each calls these methods alike."""

    def agree_on_error(self, error: str | None) -> str | None:
        """The first error that any of them brought, or None. A barrier."""
        ...

    def all(self, flag: bool) -> bool:
        """Whether all of them bring True."""
        ...

    def broadcast(self, text: str | None) -> str | None:
        """The first one's text, told to all."""
        ...


class Alone:
    """One process for itself."""

    rank, size = 0, 1

    def agree_on_error(self, error: str | None) -> str | None:
        """Its own."""
        return error

    def all(self, flag: bool) -> bool:
        """Its own."""
        return flag

    def broadcast(self, text: str | None) -> str | None:
        """Its own."""
        return text
