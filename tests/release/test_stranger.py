"""The stranger: a clean process with stock transformers, which no folder that it looks at can harm or deceive."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import orjson
import pytest
from tests.evaluate.small import write_model

from clapas.release.gate import clean_process
from clapas.release.gate.seen import Seen
from clapas.release.gate.stranger import Stranger

SIDE_EFFECT = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
from transformers import LlamaConfig as EvilConfig, LlamaForCausalLM as EvilModel
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that loads. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("seen") / "model"
    write_model(folder)
    return folder


def test_one_process_looks_at_many_folders(stranger: Stranger, model: Path, tmp_path: Path) -> None:
    """One that is no model is an error of its own, without a path of this machine, and the next is seen as before."""
    first = stranger.look(model, None)
    assert first.error is None
    assert first.tokenizer is not None
    assert not first.keys
    assert first.finite
    assert first.parameters > 0
    nothing = stranger.look(tmp_path, None)
    assert nothing.error is not None
    assert nothing.tokenizer_error is not None
    assert str(tmp_path) not in nothing.error + nothing.tokenizer_error
    assert stranger.look(model, None) == first


def test_code_in_a_folder_is_not_run(stranger: Stranger, model: Path, tmp_path: Path) -> None:
    """Even where its config asks for it, and names a kind of model that nothing else knows."""
    folder = Path(shutil.copytree(model, tmp_path / "evil"))
    config = orjson.loads((folder / "config.json").read_bytes())
    code = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilModel"}
    (folder / "config.json").write_bytes(orjson.dumps({**config, "model_type": "evil", "auto_map": code}))
    (folder / "evil.py").write_text(SIDE_EFFECT)
    assert stranger.look(folder, None).error is not None
    assert not (folder / "ran").exists()


def test_a_process_that_dies_is_an_error_of_its_folder_alone(model: Path) -> None:
    """Killed while it looks: said with the signal; another process looks at the next folder."""
    seen: list[Seen] = []
    with Stranger() as stranger:
        looking = threading.Thread(target=lambda: seen.append(stranger.look(model, None)))
        looking.start()
        os.kill(stranger.pid, signal.SIGKILL)
        looking.join()
        assert seen[0].error == "the process ended with signal SIGKILL"
        assert stranger.look(model, None).error is None


def test_a_process_that_says_nothing_is_given_up(model: Path) -> None:
    """After the patience that it was given: here less than importing takes."""
    with Stranger(patience_s=0.01) as stranger:
        assert stranger.look(model, None).error == "nothing was heard of it for 0.01 s"


def test_it_imports_nothing_of_ours() -> None:
    """What runs in the process names stock packages alone."""
    tree = ast.parse(Path(clean_process.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in names}
    assert packages - sys.stdlib_module_names == {"torch", "transformers", "safetensors"}


def test_it_is_offline() -> None:
    """Its hook lets no socket connect."""
    connect = "import socket; socket.create_connection(('127.0.0.1', 9))"
    script = f"import clean_process, sys; sys.addaudithook(clean_process._no_network); {connect}"
    folder = Path(clean_process.__file__).parent
    result = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert "PermissionError: a stranger's process is offline" in result.stderr
