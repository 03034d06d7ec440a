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
    except ImportError as error:
        what = f"this corpus needs `{package}`, which is not installed"
        raise UserError(what, found=str(error).partition("\n")[0], way_out="pip install 'clapas[data]'") from None
