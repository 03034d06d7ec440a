"""One trained tokenizer for the tests that look at one."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas_data.tokenizer.train import train

VOCABULARY = 2048


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 2,048 ids trained on the test corpus."""
    path = tmp_path_factory.mktemp("tokenizer") / "trained"
    train("test", VOCABULARY, path)
    return path
