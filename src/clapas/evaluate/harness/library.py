"""`lm-eval` itself: an optional package, imported only where tasks are asked for, and offline unless told otherwise."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO

from clapas.recipe.errors import UserError
from clapas_data.optional import needs

PACKAGES = ("lm_eval", "datasets", "torch", "tokenizers")
"""Whose versions decide what a task measures."""
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
READERS = ("datasets.config", "huggingface_hub.constants")
"""Modules that read them, once, as HF_HUB_OFFLINE."""


def require_library() -> None:
    """Raise UserError where `lm-eval` is not installed. Imports nothing: a login node asks too."""
    if find_spec("lm_eval") is None:
        raise UserError(
            "tasks need `lm-eval`, which is not installed",
            way_out="pip install 'clapas[eval]'",
        )


def import_library() -> None:
    """Import `lm-eval`, silent but for errors. Raises UserError where it is not installed."""
    require_library()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    logging.getLogger("lm-eval").setLevel(logging.ERROR)
    with needs("lm-eval", "an evaluation by tasks", "eval"):
        import datasets  # noqa: F401
        import lm_eval.evaluator  # noqa: F401
    logging.getLogger("datasets").setLevel(logging.ERROR)


@contextmanager
def network(allowed: bool) -> Iterator[None]:
    """Whether `datasets` may fetch what is not at hand, within this block; afterwards all is as it was before.

    Said to this process's copies of the libraries, which read their variables once, and to processes that it starts.
    """
    if allowed:
        yield
        return
    modules = [sys.modules[name].__dict__ for name in READERS if name in sys.modules]
    before = {name: os.environ.get(name) for name in OFFLINE}
    was = [module["HF_HUB_OFFLINE"] for module in modules]
    os.environ.update(dict.fromkeys(OFFLINE, "1"))
    for module in modules:
        module["HF_HUB_OFFLINE"] = True
    try:
        yield
    finally:
        for module, value in zip(modules, was, strict=True):
            module["HF_HUB_OFFLINE"] = value
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def silent() -> Iterator[None]:
    """Without the library's progress bars, which it draws on stderr for every task."""
    with redirect_stderr(StringIO()):
        yield


def library_versions() -> dict[str, str]:
    """The installed versions of what decides a task's figures."""
    return {package: version(package) for package in PACKAGES}
