"""The container images, where Apptainer, the internet and a GPU are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PROVES = "slurm/containers/*.def builds, and the doctor finds the GPU's build of torch inside"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.needs_gpus(1, proves=PROVES)
def test_the_image_finds_the_gpu() -> None:
    """Built from a wheel of this tree, as its first lines say."""
    if shutil.which("apptainer") is None:
        pytest.skip("apptainer is not installed")
    kind, option = ("rocm", "--rocm") if torch.version.hip else ("cuda", "--nv")
    image = f"dist/clapas-{kind}.sif"
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."]
    subprocess.run(wheel, cwd=ROOT, check=True)
    subprocess.run(["apptainer", "build", "--force", image, f"slurm/containers/{kind}.def"], cwd=ROOT, check=True)
    doctor = subprocess.run(
        ["apptainer", "exec", option, image, "clapas", "doctor"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert doctor.returncode == 0, doctor.stdout
