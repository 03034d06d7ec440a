"""What many tests need: the test corpus as shards, and the command line as a stranger runs it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from commands import Clapas, clapas_environment, python
from undisturbed import SMALL, logged

RELEASED_STEP = 10
"""Of an intermediate checkpoint beside the tests' release."""
MEASUREMENTS = (("--probe", "all"), ("--tasks", "local"), ("--contamination",))
"""What a release asks to be measured."""

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two cores, several processes: threads would fight
if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd")):
    os.environ.setdefault("TRITON_INTERPRET", "1")  # for tests/kernels, before anything imports triton; not for GPUs
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # in the background of a script: what tests start must not ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def clapas() -> Clapas:
    """Run `clapas ARGUMENTS` in a folder; returns the finished process with its output as text."""

    def run(*arguments: object, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [python(), "-m", "clapas", *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=clapas_environment(), capture_output=True, text=True, timeout=timeout, check=False
        )

    return run


@pytest.fixture(scope="session")
def test_data(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas) -> Path:
    """The test corpus (fiches-travail, real French) with a tokenizer of 2,048 ids, built by the commands themselves."""
    folder = tmp_path_factory.mktemp("corpus")
    train = ("tokenizer", "train", "test", "--vocab-size", 2048, "--out", "test/tokenizer")
    for arguments in (train, ("data", "build", "test", "--out", "test")):
        result = clapas(*arguments, cwd=folder)
        assert result.returncode == 0, result.stderr
    return folder / "test"


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas, test_data: Path) -> Path:
    """A finished run of the test recipe: 20 steps with two validations, on all that is held out. Read it, do not change
    it."""
    folder = tmp_path_factory.mktemp("trained")
    result = clapas("train", "test", f"data.path={test_data}", "run_dir=run", "evaluation.tokens=null", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def undisturbed(clapas: Clapas, test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the small run logs on two ranks that nothing befalls."""
    folder = tmp_path_factory.mktemp("undisturbed")
    result = clapas("train", "test", f"data.path={test_data}", "run_dir=run", *SMALL, "--nproc", 2, cwd=folder)
    assert result.returncode == 0, result.stderr
    return logged(folder / "run")


@pytest.fixture(scope="session")
def released_run(test_data: Path, clapas: Clapas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another finished run, with its recorded measurements. Read it, do not change it.

    It validates on little, for the stranger scores that text anew of each of many broken releases.
    """
    run = tmp_path_factory.mktemp("measured") / "run"
    arguments = ("train", "test", f"data.path={test_data}", "run_dir=run", "evaluation.tokens=4096")
    result = clapas(*arguments, cwd=run.parent)
    assert result.returncode == 0, result.stderr
    for options in MEASUREMENTS:
        result = clapas("eval", run, *options, "--record", cwd=run.parent)
        assert result.returncode == 0, result.stderr
    return run


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; its public half lies beside it."""
    from clapas.release.keys import generate_key

    folder = tmp_path_factory.mktemp("keys")
    generate_key(folder)
    return folder / "key.pem"


@pytest.fixture(scope="session")
def released(released_run: Path, key: Path, clapas: Clapas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' run, released by the command. Read it, do not change it."""
    from tests.release.drafts import write_answers  # which imports torch

    folder = tmp_path_factory.mktemp("release")
    answers = write_answers(folder / "release.yaml")
    options = (
        "--answers",
        answers,
        "--key",
        key,
        "--gguf",
        "q8_0",
        "--revisions",
        RELEASED_STEP,
        "--out",
        "model",
        "--json",
    )
    result = clapas("release", released_run, *options, cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    (folder / "said.json").write_text(result.stdout)
    return folder / "model"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--not-run FILE`: write what this machine cannot run (docs/not-run.md)."""
    parser.addoption("--not-run", metavar="FILE", help="write the tests that need absent hardware to FILE")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs hardware that is not here; list it where asked."""
    needing = [(item, marker) for item in items if (marker := item.get_closest_marker("needs_gpus"))]
    if path := config.getoption("--not-run"):
        Path(path).write_text(not_run_page([(item.nodeid, str(marker.kwargs["proves"])) for item, marker in needing]))
    for item, marker in needing:
        if gpu_count() < marker.args[0]:
            item.add_marker(pytest.mark.skip(reason=f"needs {marker.args[0]} GPU(s): {marker.kwargs['proves']}"))


def gpu_count() -> int:
    """GPUs that torch sees."""
    import torch

    return torch.cuda.device_count()


def not_run_page(tests: list[tuple[str, str]]) -> str:
    """docs/not-run.md from (test, what it would prove)."""
    rows = "".join(f"| `{test}` | {proves} |\n" for test, proves in sorted(tests))
    return (
        "# Written, but never run here\n\n"
        "No machine of this project has a GPU. What follows is written in full and type-checked, and its test\n"
        "waits for the hardware: count it as unproven. Generated from the tests' markers by `make not-run`.\n\n"
        f"| test | what it would prove |\n|---|---|\n{rows}"
    )
