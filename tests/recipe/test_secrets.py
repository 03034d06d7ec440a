"""Secrets are known by their form or by the variable that holds them; a recipe with one is refused unread."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.recipe.errors import ClapasError
from clapas.recipe.secrets import HIDDEN, hide, secret_in
from commands import Clapas

TOKEN = "hf_" + "plantedABC0123456789xyz"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"token {TOKEN}!", "a Hugging Face token"),
        ("ghp_" + "a1" * 18, "a GitHub token"),
        ("AKIA" + "ABCD1234" * 2, "an AWS key"),
        (JWT, "a JSON web token"),
        ("git clone https://me:pass@example.org/x.git", "a password in an address"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "a private key"),
        ("the key is 8f3kd93jd0", "the value of $MY_API_KEY"),
        ("through me:hush", "the value of $https_proxy"),
    ],
)
def test_a_secret_is_known_and_hidden(text: str, kind: str) -> None:
    """By form anywhere, by value where the environment holds it; what stands around it stays."""
    environment = {"MY_API_KEY": "8f3kd93jd0", "https_proxy": "http://me:hush@proxy:3128"}
    assert secret_in(text, environment) == kind
    hidden = hide(text, environment)
    assert HIDDEN in hidden
    assert secret_in(hidden, environment) is None


@pytest.mark.parametrize(
    "text",
    [
        "runs/demo-360M", "https://example.org:8080/data", "TheFrenchCorpus2026", "hf_config", "8f3kd93", "false",
        "s3://bucket/key", "sk-learn", "/secret/folder/key.json", "me@example.org",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    """Paths, names, addresses without a password; values of variables that only sound alike."""
    environment = {
        "TOKENIZERS_PARALLELISM": "TheFrenchCorpus2026",
        "GOOGLE_APPLICATION_CREDENTIALS": "/secret/folder/key.json",
        "SHORT_TOKEN": "false",
    }
    assert secret_in(text, environment) is None
    assert hide(text, environment) == text


def test_a_recipe_that_holds_a_secret_is_refused(clapas: Clapas, tmp_path: Path) -> None:
    """In a known key, an unknown one, or where it is of the wrong type: named by key, never repeated, nothing made."""
    for override, told in (
        (f"telemetry.wandb_project={TOKEN}", "telemetry.wandb_project: a secret"),
        (f"data.path=https://me:{TOKEN}@example.org/data", "data.path: a secret"),
        (f"telemetry.token={TOKEN}", "telemetry.token: unknown key"),
        (f"train.steps={TOKEN}", "train.steps: found '[hidden by clapas]'"),
    ):
        result = clapas("train", "test", "run_dir=run", override, cwd=tmp_path)
        assert result.returncode == 2
        assert told in result.stderr
        assert TOKEN not in result.stdout + result.stderr
        assert not any(tmp_path.iterdir())


def test_no_error_repeats_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of the message it would stand in: messages go into the ledger and outcome.json."""
    monkeypatch.setenv("SOME_TOKEN", "planted-value")
    error = ClapasError("failed with planted-value", where="planted-value", found=["planted-value"], way_out=TOKEN)
    assert "planted" not in f"{error} {error.what}"
    assert str(error).count(HIDDEN) == 4
