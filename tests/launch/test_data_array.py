"""The scripts of a build's job arrays, as `clapas data build --slurm SITE --dry-run` prints them."""

from __future__ import annotations

import re
from pathlib import Path

OPTIONS = ("--tasks", "1000", "--dry-run")


def test_arrays_follow_the_site_and_the_corpus(clapas, tmp_path: Path) -> None:
    """A script a job; several stages of one task each are one job; nothing is fetched, written or submitted."""
    run = clapas(
        "data", "build", "bench", "--out", "out", "--slurm", "jean-zay", "--account", "xxx@cpu", *OPTIONS, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    scripts = run.stdout.split("#!/usr/bin/env bash\n")[1:]
    stages = [re.findall(r"--stages (\S+)", script)[0].split(",") for script in scripts]
    assert [stages[0], stages[-2], stages[-1]] == [["read"], ["encode"], ["seal"]]
    assert ["choose", "shards"] in stages
    for script, names in zip(scripts, stages, strict=True):
        assert (
            f"--array=0-{999 if names[0] in ('read', 'decontaminate', 'encode') else 0} " in script or "." in names[0]
        )
        assert "#SBATCH --partition=cpu_p1\n" in script
        assert "#SBATCH --kill-on-invalid-dep=yes" in script
        assert "HF_HUB_OFFLINE=1" in script
    assert not [*tmp_path.iterdir()]


def test_what_is_refused_is_said_before_anything_is_fetched(clapas, tmp_path: Path) -> None:
    """No tasks, workers on a cluster, an account of another kind of hours: one message each."""
    refused = {
        ("--account", "xxx@cpu", "--tasks", "0"): "--tasks: not a count",
        ("--account", "xxx@cpu", "--workers", "2"): "--workers is for this machine",
        ("--account", "xxx@h100"): "no account of this site has that form",
    }
    for options, message in refused.items():
        run = clapas("data", "build", "bench", "--out", "out", "--slurm", "jean-zay", *options, cwd=tmp_path)
        assert (run.returncode, message in run.stderr) == (2, True), run.stderr
    assert not [*tmp_path.iterdir()]
