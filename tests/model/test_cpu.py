"""The CPU settings change the speed and nothing else."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import torch
from clapas.model.cpu import prepare_cpu
torch.manual_seed(0)
left, right = torch.randn(300, 200), torch.randn(200, 100)
prepare_cpu()
error = (left @ right - (left.double() @ right.double())).abs().max().item()
print(error, torch.backends.mkldnn.matmul.fp32_precision)
"""


def test_products_stay_in_fp32() -> None:
    """After prepare_cpu, products carry fp32's error (1e-5 here), not that of bf16 (1e-1). In a process of its own."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert float(result.stdout.split()[0]) < 1e-4
