"""Publishing as a process: killed at any moment it never leaves a partial `main`; what it published loads anywhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.release.loopback_hub import TOKEN, LoopbackHub
from tests.release.mutations.upload import REPO
from tests.release.small_release import REVISIONS, write_release
from tests.release.test_publish import held, titles, wanted

from clapas.cli import run
from clapas.release.publish.hub import publish
from clapas.release.sums import read_sums
from commands import Clapas, clapas_environment

PUBLISH = """
import sys
from pathlib import Path
from clapas.release.publish.contents import contents_of
from clapas.cli import run
from clapas.release.publish.hub import publish
publish(contents_of(Path(sys.argv[1])), sys.argv[2])
"""
DOWNLOAD = """
import sys
import torch
from huggingface_hub import snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer
place, repo, *revisions = sys.argv[1:]
for revision in revisions:
    snapshot_download(repo, revision=revision, local_dir=f"{place}/{revision}")
    model, info = AutoModelForCausalLM.from_pretrained(repo, revision=revision, output_loading_info=True)
    assert not any(info.values()), info
    tokenizer = AutoTokenizer.from_pretrained(f"{place}/{revision}")
    with torch.no_grad():
        assert torch.isfinite(model(**tokenizer("Le salarié", return_tensors="pt")).logits).all()
"""
MOMENTS: tuple[tuple[str, dict[str, Any]], ...] = (
    (r"PUT /lfs/\w+/2", {"kind": "call"}),
    (r"POST .*/commit/clapas-staging-stage1", {"kind": "lose answer"}),
    (r"GET .*/resolve/.*/tokenizer.json", {"kind": "call"}),
    (rf"POST .*/branch/{REVISIONS[1]}", {"kind": "lose answer"}),
    (r"POST .*/commit/main", {"kind": "cut request"}),
    (r"POST .*/commit/main", {"kind": "lose answer"}),
    (r"POST .*/tag/", {"kind": "lose answer"}),
    (r"DELETE .*/branch/", {"kind": "call"}),
)
"""Calls in the order in which a publication makes them, and whether they are done before the publisher is killed."""


def environment(hub: LoopbackHub, home: Path) -> dict[str, str]:
    """A publisher's, or a stranger's, with a cache of its own."""
    return {**clapas_environment(), "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}


@pytest.mark.slow
def test_killed_at_any_moment_main_is_never_partial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL eight times, each later than the last: every commit that a public branch ever had is complete."""
    contents = write_release(tmp_path / "demo")
    with LoopbackHub(part_size=30_000) as hub:
        for call, facts in MOMENTS:
            process = subprocess.Popen(
                [sys.executable, "-c", PUBLISH, str(contents.folder), REPO],
                env={**environment(hub, tmp_path / "home"), "HF_TOKEN": TOKEN},
                stderr=subprocess.DEVNULL,
            )
            hub.faults.add(call, **{**facts, "then": kill(process)})
            assert process.wait(timeout=60) == -signal.SIGKILL, call
        repository = hub.repositories[REPO]
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        publish(contents, REPO, endpoint=hub.url)
        assert titles(repository) == ["Version 1.0.0", "initial commit"]
        assert held(hub, "main") == held(hub, "1.0.0") == wanted(contents.folder)
        assert set(repository.branches) == {"main", *REVISIONS}
        for name in REVISIONS:
            assert held(hub, name) == wanted(contents.folder / "revisions" / name)
            assert titles(repository, name) == ["Version 1.0.0", "initial commit"]


def kill(process: subprocess.Popen[bytes]) -> Callable[[], None]:
    """What the Hub does when the moment comes."""

    def strike() -> None:
        os.kill(process.pid, signal.SIGKILL)

    return strike


@pytest.mark.slow
def test_the_real_client_downloads_it_and_transformers_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By tag and by a revision's branch, in a clean process; the sums of what came are those released."""
    contents = write_release(tmp_path / "demo")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with LoopbackHub(part_size=30_000) as hub:
        publish(contents, REPO, endpoint=hub.url)
        clean = {name: value for name, value in environment(hub, tmp_path / "home").items() if name != "HF_TOKEN"}
        revisions = {"1.0.0": contents.folder, REVISIONS[0]: contents.folder / "revisions" / REVISIONS[0]}
        command = [sys.executable, "-I", "-c", DOWNLOAD, str(tmp_path), REPO, *revisions]
        result = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr[-2000:]
    for revision, folder in revisions.items():
        assert read_sums(tmp_path / revision) == read_sums(folder)
        command = ["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"]
        assert subprocess.run(command, cwd=tmp_path / revision, check=False).returncode == 0


@pytest.mark.slow
def test_the_command_publishes_a_real_release_and_a_stranger_verifies_what_came(
    released: Path, clapas: Clapas, tmp_path: Path
) -> None:
    """Exit 0; what the real client downloads is sound, as `clapas verify` sees it; the token stands nowhere; a release
    that was altered is refused with exit 1."""
    shutil.copytree(released, tmp_path / "model")
    with LoopbackHub() as hub:

        def command(*arguments: object) -> subprocess.CompletedProcess[str]:
            full = ["publish", "model", "--repo", REPO, "--endpoint", hub.url, *map(str, arguments)]
            command = [sys.executable, "-m", "clapas", *full]
            told = {**clapas_environment(), "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home")}
            return subprocess.run(command, cwd=tmp_path, env=told, capture_output=True, text=True, check=False)

        planned, done = command("--dry-run"), command("--json")
        assert (planned.returncode, done.returncode) == (0, 0), planned.stderr + done.stderr
        assert "model.safetensors" in planned.stdout
        assert orjson.loads(done.stdout)["check"]["status"] == "pass"
        said = "".join(result.stdout + result.stderr for result in (planned, done))
        assert TOKEN not in said + (tmp_path / "model.publication.json").read_text()
        download = "from huggingface_hub import snapshot_download as s; import sys; s(sys.argv[1], local_dir='got')"
        fetch = [sys.executable, "-c", download, REPO]
        subprocess.run(fetch, cwd=tmp_path, env=environment(hub, tmp_path / "home"), check=True, capture_output=True)
        result = clapas("verify", "got", "--public-key", tmp_path / "model/model.pub", cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        (tmp_path / "model/LICENSE").write_text("Tous droits réservés.\n")
        refused = command()
        assert refused.returncode == 1
        assert "LICENSE is altered" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--repo", "clapas/demo"), "SHA256SUMS"),
        (("--repo", "demo"), "OWNER/NAME"),
        (("--repo", "clapas/demo", "--endpoint", "hub.example"), "not an address"),
        (("--mirror", "served", "--private"), "--private needs --repo"),
        (("--mirror", "served", "--endpoint", "https://s3.example"), "a folder has no address"),
        (("--mirror", "s3://Bad_Bucket/x"), "not an S3 address"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(
    arguments: tuple[str, ...],
    word: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 2: a folder that is no release, a repository without an owner, options that do not fit."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert run(["publish", "empty", *arguments]) == 2
    assert word in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
