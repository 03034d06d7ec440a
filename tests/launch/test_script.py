"""The batch script that `clapas launch` writes, for each site that ships: golden files, read and kept."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from clapas.launch.job import Choices
from clapas.launch.launch import derive
from clapas.launch.script import render
from clapas.plan.site import read_site
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe, read_recipe

GOLDEN = Path(__file__).with_name("golden")
PYTHON = "/project/clapas/.venv/bin/python"
OVERRIDES = ("run_dir=/scratch/runs/mine", "precision=bf16", "train.global_batch_size=64")


def script(site: str, choices: Choices, *overrides: str, points: int = 1) -> str:
    """The script of the test recipe on that site."""
    recipes: list[Recipe] = [read_recipe("test", [*OVERRIDES, *overrides])] * points
    job = derive(recipes, read_site(site), choices)
    return render(job, recipes[0], recipes[0].folder / "launch/001", Path("/project/clapas"), PYTHON)


def jean_zay(nodes: int, **more: Any) -> Choices:
    """Choices that Jean Zay takes."""
    return Choices(nodes, **{"account": "xyz@h100", "accept_unverified": True, **more})


def adastra(nodes: int, **more: Any) -> Choices:
    """Choices that Adastra takes."""
    return Choices(nodes, account="cad12345", accept_unverified=True, **more)


CASES = {
    "jean-zay-h100": lambda: script(
        "jean-zay", Choices(4, account="xyz@h100", wall="20:00:00", accept_unverified=True)
    ),
    "jean-zay-v100-chain": lambda: script(
        "jean-zay",
        jean_zay(2, partition="v100-32g", account="xyz@v100", wall="20:00:00", chain=5),
        "precision=fp16",
    ),
    "adastra-mi250-container": lambda: script("adastra", adastra(2, image="/project/images/clapas-rocm.sif")),
    "local-sweep": lambda: script("local", Choices(2, accept_unverified=True), "precision=fp32", points=3),
}


@pytest.mark.parametrize("name", CASES)
def test_scripts_are_as_they_were_read(name: str) -> None:
    """To write them anew, CLAPAS_GOLDEN=write; then read them."""
    path, found = GOLDEN / f"{name}.sh", CASES[name]()
    if os.environ.get("CLAPAS_GOLDEN") == "write":
        path.write_text(found)
    assert found == path.read_text(), "the script has changed: read it, then CLAPAS_GOLDEN=write pytest tests/launch"
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    assert max(map(len, found.splitlines())) <= 120


REFUSED = {
    "unverified facts": (
        "jean-zay",
        jean_zay(4, accept_unverified=False),
        "not verified\n.*account, partitions.h100, partitions.h100.qos.0, environment",
    ),
    "no account": ("jean-zay", jean_zay(4, account=None), "wants an account for each job"),
    "another partition's account": (
        "jean-zay",
        jean_zay(4, account="xyz@v100"),
        "no account of this site has that form",
    ),
    "bf16 on V100": ("jean-zay", jean_zay(1, partition="v100-32g", account="xyz@v100"), "V100.* has no bf16"),
    "a wall over all QoS": (
        "jean-zay",
        jean_zay(4, wall="101:00:00"),
        "t3: --time 101:00:00 is over 20:00:00; .*dev: .*; .*t4: --time 101:00:00 is over 100:00:00",
    ),
    "a long job of many GPUs": ("jean-zay", jean_zay(8, wall="50:00:00"), "t4: 32 GPUs are over 16"),
    "a wall over the partition's": ("adastra", adastra(1, wall="2-00:00:00"), "--time 48:00:00 is over 24:00:00"),
    "not a wall": ("adastra", adastra(1, wall="20h"), "not a wall time"),
    "no time": ("adastra", adastra(1, wall="00:00:00"), "no time at all"),
    "an account, told by an example of its own kind": (
        "jean-zay",
        jean_zay(1, partition="a100", account="xyz"),
        "such as xxx@a100",
    ),
    "a QoS that there is not": ("jean-zay", jean_zay(1, qos="fast"), "way out: leave --qos out"),
    "more nodes, which less time does not mend": ("jean-zay", jean_zay(129), r"over 512.*\n.*way out: fewer --nodes$"),
    "a container of which nothing is known": (
        "local",
        Choices(1, image="image.sif"),
        "account, partitions.cpu, environment, container",
    ),
    "a template": ("meso-lr", Choices(1, accept_unverified=True), "it has no partition yet"),
    "a batch that cannot be shared": ("adastra", adastra(3), "64 samples on 24"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_site_does_not_take_is_refused_before_it_is_submitted(what: str) -> None:
    """By name, from the site's file alone."""
    site, choices, message = REFUSED[what]
    with pytest.raises(UserError, match=message):
        script(site, choices)


def test_a_sweep_is_checked_at_every_point() -> None:
    """The first may be what the nodes have, the second not."""
    recipes = [read_recipe("test", [*OVERRIDES, f"precision={name}"]) for name in ("fp16", "bf16")]
    with pytest.raises(UserError, match=r"V100.* has no bf16"):
        derive(recipes, read_site("jean-zay"), jean_zay(1, partition="v100-32g", account="xyz@v100"))


def test_a_requeue_is_tried_until_the_controller_answers(tmp_path: Path) -> None:
    """The script's own function, where `scontrol` fails twice: the third answer counts; then the nodes are named."""
    text = (GOLDEN / "local-sweep.sh").read_text()
    function = text[text.index("requeue() {") : text.index("case $what")]
    stubs = f"""job=12_2; sleep() {{ [ "$1" != infinity ] || exit 9; }}
        scontrol() {{ echo "$@"; [ "$1" != requeue ] || [ "$(wc -l <{tmp_path}/out)" -ge 3 ]; }}"""
    with (tmp_path / "out").open("w") as out:
        ended = subprocess.run(["bash", "-c", f"{stubs}\n{function}\nrequeue node2"], stdout=out, check=False)
    expected = ["requeue 12_2"] * 3 + ["update JobId=12_2 ExcNodeList=node2"]
    assert (ended.returncode, (tmp_path / "out").read_text().splitlines()) == (9, expected)


def test_a_folder_that_sbatch_cannot_take_is_refused() -> None:
    """Spaces are quoted (tests/slurm launches from such a folder); a quote would end the quotes."""
    with pytest.raises(UserError, match="sbatch cannot take this folder"):
        script("local", Choices(1, accept_unverified=True), 'run_dir=/scratch/a"b')


def test_the_qos_is_the_first_that_takes_the_job() -> None:
    """A long job of few GPUs goes to the QoS for long jobs; its wall is what was asked for."""
    found = script("jean-zay", jean_zay(4, wall="50:00:00"))
    assert "--qos=qos_gpu_h100-t4 " in found
    assert "--time=50:00:00\n" in found
