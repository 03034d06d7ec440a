"""The arrows of the house point down only, and what must stay light stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_USE = {
    "recipe": set(),
    "ledger": {"recipe"},
    "checkpoint": {"recipe"},
    "plan": {"recipe", "ledger", "checkpoint", "engine"},
    "model": {"recipe", "checkpoint"},
    "loader": {"recipe", "ledger"},
    "engine": {"recipe", "model", "checkpoint"},
    "evaluate": {"recipe", "ledger", "model", "loader", "checkpoint", "engine"},
    "tune": {"recipe", "ledger", "checkpoint", "model", "loader", "engine", "evaluate"},
    "train": {"recipe", "ledger", "checkpoint", "plan", "model", "loader", "engine", "evaluate", "tune"},
    "release": {"recipe", "ledger", "checkpoint", "plan", "model", "loader", "evaluate", "tune", "train"},
    "report": {"recipe", "ledger", "checkpoint", "plan", "loader", "evaluate", "train"},
    "launch": {"recipe", "ledger", "checkpoint", "plan", "engine", "train"},
}
"""Layer -> the layers of clapas that it may import."""


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_files() -> list[Path]:
    """Every file that stands in a layer of clapas. The command line is above them all."""
    top = {ROOT / "src/clapas", ROOT / "src/clapas/cli"}
    return sorted(path for path in (ROOT / "src/clapas").rglob("*.py") if path.parent not in top)


@pytest.mark.parametrize("path", layer_files(), ids=lambda path: str(path.relative_to(ROOT / "src/clapas")))
def test_arrows_point_down(path: Path) -> None:
    """A layer imports only those below it. The recipe composes their torch-free `…config.py`, and nothing else."""
    layer = path.relative_to(ROOT / "src/clapas").parts[0]
    allowed = MAY_USE[layer] | {layer}
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "clapas" or len(parts) < 2 or parts[1] == "__version__":
            continue
        composes = path.name == "recipe.py" and parts[2:] and parts[2].endswith("config")
        needs_recipe_type = parts[1] in allowed
        assert needs_recipe_type or composes, f"{layer} may not import {module}"


def test_only_the_engine_imports_deepspeed() -> None:
    """DeepSpeed is one layer's business."""
    for path in ROOT.joinpath("src").rglob("*.py"):
        if path.parent.name != "engine":
            assert not any(module.split(".")[0] == "deepspeed" for module in imports(path)), path


def test_the_core_does_not_import_transformers() -> None:
    """transformers is for tests and extras; what loads a release in a process of its own is a script that nobody
    imports from."""
    for path in ROOT.joinpath("src").rglob("*.py"):
        if path.name != "clean_process.py":
            assert not any(module.split(".")[0] == "transformers" for module in imports(path)), path


def test_data_tools_know_only_the_recipe_layer_and_no_torch() -> None:
    """clapas_data uses clapas.recipe and nothing else of clapas."""
    for path in ROOT.joinpath("data_tools").rglob("*.py"):
        for module in imports(path):
            parts = module.split(".")
            assert parts[0] != "torch", path
            assert parts[0] != "clapas" or parts[1] == "recipe", f"{path.name} imports {module}"


def test_kernels_know_only_torch_and_triton() -> None:
    """clapas_kernels is usable alone."""
    standard = sys.stdlib_module_names | {"torch", "triton", "numpy", "clapas_kernels"}
    for path in ROOT.joinpath("kernels").rglob("*.py"):
        assert {module.split(".")[0] for module in imports(path)} <= standard, path


@pytest.mark.parametrize(
    "statement",
    [
        "import clapas, clapas.cli",
        "from clapas.recipe.recipe import Recipe",
        "import clapas.train.preflight, clapas.train.local_ranks",
        "import clapas.launch.doctor.doctor",
        "import clapas.ledger.ledger, clapas.plan.plan, clapas.plan.show, clapas.model.hf_config",
        "import clapas_data.build, clapas_data.tokenizer.train, clapas_data.inspect",
        "import clapas.report.mix, clapas.loader.removal, clapas_data.trace",
        "import clapas.launch.command, clapas.launch.status, clapas.launch.attempt",
    ],
)
def test_no_torch_until_a_verb_needs_it(statement: str) -> None:
    """Login nodes parse recipes in milliseconds: these imports leave torch out."""
    code = f"{statement}\nimport sys; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
