"""How DeepSpeed is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from commands import clapas_environment

TRAIN_ONE_STEP = """
import sys
from clapas.recipe.recipe import read_recipe
from clapas.train.train import train

train(read_recipe("test", sys.argv[1:]))
print("torch._inductor.compile_fx" in sys.modules)
"""


def test_no_compiler_is_loaded_where_nothing_is_compiled(tmp_path: Path, test_data: Path) -> None:
    """It takes longer to load than all the rest of a start after the imports."""
    overrides = [f"data.path={test_data}", "run_dir=run", "train.steps=1", "schedule.warmup_steps=0"]
    command = [sys.executable, "-c", TRAIN_ONE_STEP, *overrides]
    result = subprocess.run(
        command, cwd=tmp_path, env=clapas_environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["False"]
