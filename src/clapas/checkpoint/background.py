"""Work that goes on beside the training, whose failure is kept until someone asks."""

from __future__ import annotations

import threading
from collections.abc import Callable

from clapas.recipe.errors import ClapasError


class Background:
    """Something that runs in a thread. error: what went wrong, in words, once it has ended."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.error: str | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name="checkpoint", daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], object]) -> None:
        self.error = error_of(work)

    def has_ended(self, wait: bool) -> bool:
        """Whether it has; wait: not before it has."""
        if wait:
            self._thread.join()
        return not self._thread.is_alive()


def error_of(work: Callable[[], object]) -> str | None:
    """What went wrong in doing it, in words; None where nothing did."""
    try:
        work()
    except ClapasError as problem:
        return str(problem)
    except OSError as problem:
        return f"{problem.strerror or problem}"
    except Exception as problem:  # whatever it is must reach the other ranks: they wait for this one
        return f"{type(problem).__name__}: {problem}"
    return None
