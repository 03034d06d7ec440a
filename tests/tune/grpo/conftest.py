"""What GRPO is tested on: sums of small numbers in French, and a toy to learn."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tune.examples import write_folder
from tune.grpo.toy import TOYS


@pytest.fixture(scope="session")
def prompts(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 prompts with their answers; beside the folder, the module `toys`."""
    folder = tmp_path_factory.mktemp("grpo") / "prompts"
    pairs = [(one, other) for one in range(6) for other in range(6)]
    write_folder(
        folder,
        test_data / "tokenizer",
        [((f"Combien font {one} + {other} ?", ""),) for one, other in pairs],
        kind="prompts",
        columns={"answer": pa.string()},
        values=[{"answer": str(one + other)} for one, other in pairs],
    )
    (folder.parent / "toys.py").write_text(TOYS)
    return folder
