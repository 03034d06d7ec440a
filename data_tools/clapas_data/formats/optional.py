"""Packages that only some corpora need: imported where they are used, and named where they are missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clapas.recipe.errors import UserError


@contextmanager
def needs(package: str) -> Iterator[None]:
    """Import `package` in this block; a UserError says what to install where it is not there."""
    try:
        yield
    except ImportError:
        way_out = "pip install 'clapas[data]'"
        raise UserError(f"this corpus needs `{package}`, which is not installed", way_out=way_out) from None
