"""A missing package is told with the command that brings it."""

from __future__ import annotations

import pytest

from clapas.recipe.errors import UserError
from clapas_data.optional import needs


@pytest.mark.parametrize(("extra", "way_out"), [("data", "'clapas[data]'"), (None, "no-such-package")])
def test_the_command_brings_the_package(extra: str | None, way_out: str) -> None:
    """One of our extras, or where none has it (presidio, EDS-NLP) the package itself."""
    with pytest.raises(UserError) as error, needs("no-such-package", "this test", extra=extra):
        import no_such_package  # pyright: ignore[reportMissingImports] # noqa: F401
    assert error.value.way_out == f"pip install {way_out}"
