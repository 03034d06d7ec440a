"""`compute.kernels`: on a CPU, fused or plain, a run is the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clapas.ledger.ledger import read_json_lines
from commands import Clapas, clapas_environment


@pytest.mark.slow
def test_on_a_cpu_kernels_change_nothing(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """Twenty steps, equal losses and gradient norms; it is the same run, which goes on with the other."""
    arguments = ("train", "test", f"data.path={test_data}", "train.threads=1")
    runs = {}
    for kernels in ("auto", "reference"):
        result = clapas(*arguments, f"run_dir={kernels}", f"compute.kernels={kernels}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        rows = read_json_lines(tmp_path / kernels / "metrics.jsonl")
        runs[kernels] = [(row["loss"], row["grad_norm"]) for row in rows if "split" not in row]
    assert len(runs["auto"]) == 20
    assert runs["auto"] == runs["reference"]
    result = clapas(*arguments, "run_dir=auto", "compute.kernels=reference", cwd=tmp_path)
    assert "trained already" in result.stderr


def test_the_choice_of_a_kernel_is_shown() -> None:
    """What an operation logs reaches stderr, once, in a process of its own."""
    code = (
        "import torch\n"
        "from clapas.model.compute import show_chosen_kernels\n"
        "from clapas_kernels import Documents, attention\n"
        "show_chosen_kernels()\n"
        "show_chosen_kernels()\n"
        "x = torch.zeros(1, 1, 4, 8)\n"
        "for _ in range(2):\n"
        "    attention(x, x, x, Documents(torch.zeros(1, 4, dtype=torch.long)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clapas_environment(), check=True
    )
    assert run.stderr.count("document-masked attention: sdpa") == 1
