"""Work done ahead by a thread: the next items are ready before they are asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetch(Generic[Item]):
    """Takes items from an iterable in a thread of its own, at most `ahead` before they are needed.

    An exception of the iterable is raised to the consumer, at the place where the item would have come.
    Close it, or leave its `with` block, to end the thread.
    """

    def __init__(self, items: Iterable[Item], ahead: int) -> None:
        self._queue: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(iter(items),), name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while not self._closed.is_set():
            item, error = self._queue.get()
            if isinstance(error, StopIteration):
                self.close()
                return
            if error is not None:
                self.close()
                raise error
            yield item  # pyright: ignore[reportReturnType] - without an error there is an item
        return

    def close(self) -> None:
        """End the thread and let go of what it has prepared. Later calls do nothing."""
        self._closed.set()
        while self._thread.is_alive():
            self._drain()  # the thread may be waiting for room
            self._thread.join(timeout=0.01)
        self._drain()

    def __enter__(self) -> Prefetch[Item]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self, items: Iterator[Item]) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put((next(items), None))
            except BaseException as error:  # StopIteration too: it ends the consumer's loop
                self._queue.put((None, error))
                return

    def _drain(self) -> None:
        try:
            while True:
                self._queue.get_nowait()
        except queue.Empty:
            pass
