"""What GRPO is tested on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tune.grpo.toy import write_prompts


@pytest.fixture(scope="session")
def prompts(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 prompts with their answers; beside the folder, the module `toys`."""
    return write_prompts(tmp_path_factory.mktemp("grpo") / "prompts", test_data / "tokenizer")
