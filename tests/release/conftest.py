"""What many tests of releases look through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clapas.release.gate.stranger import Stranger


@pytest.fixture(scope="session")
def stranger() -> Iterator[Stranger]:
    """One clean process with stock transformers, for all folders."""
    with Stranger() as process:
        yield process
