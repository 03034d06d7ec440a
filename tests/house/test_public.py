"""What `import clapas` offers."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import clapas


@pytest.mark.parametrize("name", clapas.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    """Each resolves, and says what it is; public methods too."""
    value = getattr(clapas, name)
    assert inspect.getdoc(value)
    if inspect.isclass(value):
        for member, function in inspect.getmembers(value, inspect.isfunction):
            ours = function.__module__.startswith("clapas") and not member.startswith("_")
            assert not ours or inspect.getdoc(function), f"{name}.{member}"


def test_train_is_callable_whatever_was_imported_before() -> None:
    """The package of that name and the function of that name do not hide each other."""
    code = (
        "import clapas; first = clapas.train\n"
        "import clapas.train.schedule\n"
        "from clapas.train.train import train\n"
        "assert callable(first) and callable(clapas.train), (first, clapas.train)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        clapas.trian  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
