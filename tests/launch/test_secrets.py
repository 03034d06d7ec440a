"""What a launch writes down never holds a token or a key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

import clapas
from clapas.launch.secrets import HIDDEN, hide
from commands import clapas_environment

PLANTED = {
    "HF_TOKEN": "hf_" + "aBcD1234" * 4,
    "WANDB_API_KEY": "0123456789abcdef" * 2 + "deadbeef",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "MY_PASSWORD": "correct-horse-battery",
}
IN_TEXT = (
    "ghp_" + "a1B2" * 9,
    "sk-proj-" + "Zz09" * 8,
    "AKIA" + "ABCD1234" * 2,
    "glpat-" + "x9Y8z7W6v5U4t3S2",
    ["https:", "me:s3cret-w0rd@example.org/x.git"][1].split("@")[0],
    "9f8e7d6c5b4a39281706",
)


def text() -> str:
    """A diff that somebody might have, with every kind of secret in it."""
    lines = [f"+key = '{value}'" for value in PLANTED.values()]
    lines += [f"+# {value}" for value in IN_TEXT[:4]]
    lines += [f"+url = https://{IN_TEXT[4]}@example.org/x.git", f"+api_key: {IN_TEXT[5]}"]
    lines += ["+-----BEGIN OPENSSH PRIVATE KEY-----", "+b3BlbnNzaC1rZXktdjEAAAAA", "+-----END OPENSSH PRIVATE KEY-----"]
    return "\n".join(lines)


def test_secrets_of_every_form_are_hidden_and_code_is_not() -> None:
    """By their form, by the name that they are assigned to, by the environment that holds them."""
    hidden = hide(text(), PLANTED)
    for secret in (*PLANTED.values(), *IN_TEXT, "b3BlbnNzaC1rZXktdjEAAAAA"):
        assert secret not in hidden
    assert hidden.count(HIDDEN) == len(PLANTED) + len(IN_TEXT) + 1
    code = (
        "tokens = batch.tokens_per_second\ntoken_ids: list[int] = []\nmax_tokens=8192\ntokenizer: data/test/tokenizer\n"
    )
    assert hide(code, {"TOKENIZERS_PARALLELISM": "false", "HOME": "/root", "HF_TOKEN": ""}) == code


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout of Clapas with a secret in a file that git knows, and in its remote's address."""
    root = Path(clapas.__file__).parents[2]
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for part in ("src", "recipes", "slurm"):
        subprocess.run(["cp", "-r", root / part, tmp_path / part], check=True)
    (tmp_path / ".gitignore").write_text("__pycache__\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True)
    subprocess.run([*git, "remote", "add", "origin", f"https://{IN_TEXT[4]}@example.org/x.git"], check=True)
    comments = "".join(f"# {line}\n" for line in text().splitlines())
    (tmp_path / "src/clapas/__init__.py").write_text(f"{comments}__version__ = '0'\n")
    return tmp_path


def test_the_snapshot_of_a_dirty_checkout(checkout: Path) -> None:
    """It tells of commit and change, and not of the secrets in them."""
    (checkout / "src/clapas/new.py").touch()
    say = (
        "import clapas, orjson, sys; from clapas.launch.snapshot import code_version; code = code_version(); "
        "sys.stdout.buffer.write(orjson.dumps({**code.facts(), 'diff': code.diff, 'same': code.same_as(code.facts())}))"
    )
    environment = {**os.environ, **PLANTED, "PYTHONPATH": str(checkout / "src")}
    result = subprocess.run([sys.executable, "-c", say], env=environment, capture_output=True, check=True)
    for secret in (*PLANTED.values(), *IN_TEXT):
        assert secret.encode() not in result.stdout
    told = orjson.loads(result.stdout)
    assert len(told["commit"]) == 40
    assert told["untracked"] == ["new.py"]
    assert told["same"] is True
    assert "+++ b/src/clapas/__init__.py" in told["diff"]


@pytest.mark.slow
def test_a_run_writes_none_of_them_down(checkout: Path, test_data: Path) -> None:
    """In the environment, in a change that is not committed, in the remote's address: nowhere in the run's folder."""
    recipe = ("test", f"data.path={test_data}", "run_dir=run", "train.steps=3", "schedule.warmup_steps=1")
    command = [sys.executable, "-m", "clapas", "train", *recipe, "telemetry.wandb=offline"]
    environment = {**clapas_environment(), **PLANTED}
    result = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    written = [path for path in (checkout / "run").rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in written)
    for content in (*(path.read_bytes() for path in written), result.stdout.encode(), result.stderr.encode()):
        assert not [secret for secret in (*PLANTED.values(), *IN_TEXT) if secret.encode() in content]
