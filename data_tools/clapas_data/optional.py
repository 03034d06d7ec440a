"""Packages that only some corpora need: a missing one is told with the way to have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from clapas.recipe.errors import UserError


@contextmanager
def needs(package: str, what: str, extra: str | None = "data") -> Iterator[None]:
    """Import an optional package within the block. what: the thing that needs it. Raises UserError without it.

    extra: of ours that brings it; None where it is installed by its own name.
    """
    try:
        yield
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] == package.replace("-", "_"):
            way_out = f"pip install 'clapas[{extra}]'" if extra else f"pip install {package}"
            raise UserError(f"{what} needs `{package}`, which is not installed", way_out=way_out) from None
        raise


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """The installed versions of packages; None for one that is missing."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
