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


def require_library() -> None:
    """Raise UserError where `lm-eval` is not installed. Imports nothing: a login node asks too."""
    if find_spec("lm_eval") is None:
        raise UserError(
            "tasks need `lm-eval`, which is not installed",
            way_out="pip install 'clapas[eval]'",
        )


def import_library(*, download: bool = False) -> None:
    """Import `lm-eval`, silent but for errors. Raises UserError where it is not installed.

    download: let `datasets` fetch what is not at hand; otherwise it is told, also where it was imported already, that
    there is no network.
    """
    require_library()
    if not download:
        os.environ.update(dict.fromkeys(OFFLINE, "1"))
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    logging.getLogger("lm-eval").setLevel(logging.ERROR)
    with needs("lm-eval", "an evaluation by tasks", "eval"):
        import datasets  # noqa: F401
        import lm_eval.evaluator  # noqa: F401
    hub = sys.modules.get("huggingface_hub.constants")
    if not download:
        sys.modules["datasets.config"].__dict__["HF_HUB_OFFLINE"] = True
        if hub is not None:
            hub.__dict__["HF_HUB_OFFLINE"] = True
    logging.getLogger("datasets").setLevel(logging.ERROR)


@contextmanager
def silent() -> Iterator[None]:
    """Without the library's progress bars, which it draws on stderr for every task."""
    with redirect_stderr(StringIO()):
        yield


def library_versions() -> dict[str, str]:
    """The installed versions of what decides a task's figures."""
    return {package: version(package) for package in PACKAGES}
