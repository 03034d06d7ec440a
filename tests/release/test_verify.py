"""A stranger finds a release sound, or is told in one message why it is not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

import clapas.release.verify as verifying
from clapas.recipe.errors import UserError
from clapas.release.export import export
from clapas.release.keys import fingerprint, generate_key
from clapas.release.layout import REVISIONS
from clapas.release.signature import LocalKey, PublicKey, seal
from clapas.release.sums import Digests, NotSoundError
from clapas.release.verify import verify
from commands import Clapas


@pytest.fixture(scope="module")
def signed(trained_run: Path, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a revision, signed; without a release's documents. Read it, do not change it."""
    folder = export(trained_run, tmp_path_factory.mktemp("signed") / "model")
    (folder / "LICENSE").write_text("licence\n")
    revision = folder / REVISIONS / "stage1-step10-tokens10.2k"
    shutil.copytree(folder, revision, ignore=shutil.ignore_patterns(REVISIONS))
    for part in (revision, folder):
        seal(part, Digests(), LocalKey(key), "demo")
    return folder


@pytest.fixture
def copy(signed: Path, tmp_path: Path) -> Path:
    """A copy of it, to break."""
    return Path(shutil.copytree(signed, tmp_path / "copy"))


@pytest.fixture
def broken(released: Path, tmp_path: Path) -> Path:
    """A copy of a whole release, to break and sign again."""
    return Path(shutil.copytree(released, tmp_path / "broken"))


def problems(folder: Path) -> str:
    """What the message says of a folder's sums and signature."""
    with pytest.raises(NotSoundError) as caught:
        verify(folder, quick=True).raise_for_problems()
    return str(caught.value)


def revision_of(folder: Path) -> Path:
    """Its only intermediate checkpoint."""
    (revision,) = (folder / REVISIONS).iterdir()
    return revision


@pytest.mark.slow
def test_a_release_is_sound(released: Path, key: Path, clapas: Clapas, tmp_path: Path) -> None:
    """With the provider's key: exit 0, and who signed, what was looked at, what could not be."""
    public = key.with_name("key.pub.pem")
    result = clapas("verify", released, "--public-key", public, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"signed by the key SHA-256 {fingerprint(public)}\n" in result.stdout
    assert re.search(r"^10 pass +loading", result.stdout, re.M)
    assert re.search(r"^11 not run +logits", result.stdout, re.M)
    assert re.search(r"^22 pass +revisions", result.stdout, re.M)
    assert "passed where it was released (release.json): 11, 12" in result.stdout
    assert result.stdout.endswith("\nsound\n")


def test_the_folders_own_key_is_said_to_be_that(signed: Path, clapas: Clapas, tmp_path: Path) -> None:
    """In words, and in JSON; naming the folder's key changes nothing."""
    said = clapas("verify", signed, "--quick", cwd=tmp_path).stdout
    assert "the key came with the folder" in said
    for options in ((), ("--public-key", signed / "model.pub")):
        found = json.loads(clapas("verify", signed, "--quick", "--json", *options, cwd=tmp_path).stdout)
        assert found["own_key"]
        assert found["sound"]


BROKEN: list[tuple[str, Callable[[Path], object], str]] = [
    ("altered", lambda folder: (folder / "config.json").open("a").write(" "), "config.json is altered"),
    ("missing", lambda folder: (folder / "LICENSE").unlink(), "LICENSE is missing"),
    ("extra", lambda folder: (folder / "x.md").touch(), "x.md is not part of the release"),
    ("no public key", lambda folder: (folder / "model.pub").unlink(), "the release has lost its public key"),
    ("a link", lambda folder: (folder / "x").symlink_to("LICENSE"), "x: a symbolic link"),
    ("sums", lambda folder: (folder / "SHA256SUMS").open("a").write("x\n"), "not a line of sums"),
    ("signature", lambda folder: (folder / "model.sig").write_text("{}"), "the signature does not verify"),
]


@pytest.mark.parametrize(("break_", "said"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_what_changed_is_named(copy: Path, break_: Callable[[Path], object], said: str) -> None:
    """One message, exit 1."""
    break_(copy)
    assert said in problems(copy)


def test_a_changed_revision_is_named(copy: Path) -> None:
    """By its place in the release."""
    revision = revision_of(copy)
    (revision / "config.json").write_text("{}")
    assert f"{REVISIONS}/{revision.name}: config.json is altered" in problems(copy)


def test_another_key_is_not_the_providers(signed: Path, tmp_path: Path, clapas: Clapas) -> None:
    """Exit 1; the JSON says it too."""
    generate_key(tmp_path / "other")
    options = ("--quick", "--json", "--public-key", tmp_path / "other/key.pub.pem")
    result = clapas("verify", signed, *options, cwd=tmp_path)
    assert result.returncode == 1
    assert "the signature is by another key" in result.stderr
    assert "Traceback" not in result.stderr
    assert not json.loads(result.stdout)["sound"]
    assert "\nsigned by" not in "\n" + str(verify(signed, PublicKey(tmp_path / "other/key.pub.pem"), quick=True))


def test_what_is_no_release_is_the_users_mistake(signed: Path, tmp_path: Path) -> None:
    """A folder, a key that is none, half an identity."""
    with pytest.raises(UserError, match="not a release: it has no SHA256SUMS"):
        verify(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        verify(tmp_path / "missing")
    with pytest.raises(UserError, match="no public key here"):
        verify(signed, PublicKey(tmp_path / "missing.pem"))
    with pytest.raises(UserError, match="not clear"):
        verifying.whose(None, "equipe@exemple.fr", None)


def test_a_signature_by_an_identity_asks_for_it(copy: Path) -> None:
    """Whose it must be cannot be read in the folder."""
    (copy / "model.sig").write_text('{"verificationMaterial": {"certificate": {"rawBytes": ""}}}')
    with pytest.raises(UserError, match="--identity and --identity-provider"):
        verify(copy)


@pytest.mark.slow
def test_sums_that_fit_are_not_enough(broken: Path, key: Path) -> None:
    """Signed by the provider's own key, but it does not load, and its card is not what the evidence says."""
    config = orjson.loads((broken / "config.json").read_bytes())
    config["num_hidden_layers"] += 1
    (broken / "config.json").write_bytes(orjson.dumps(config))
    card = (broken / "README.md").read_text()
    (broken / "README.md").write_text(card.replace("etalab", "ETALAB"))
    seal(broken, Digests(), LocalKey(key), "demo")
    found = verify(broken)
    assert not any(part.problems for part in found.sealed)
    failed = {check.number for check in found.checks if check.status == "fail"}
    assert {10, 21} <= failed
    with pytest.raises(NotSoundError, match="check 10, loading"):
        found.raise_for_problems()


@pytest.mark.slow
def test_evidence_that_does_not_parse_is_told(broken: Path, key: Path) -> None:
    """Never a traceback, nor a mistake of whoever verifies."""
    (broken / "evidence.json").write_text("{}")
    seal(broken, Digests(), LocalKey(key), "demo")
    with pytest.raises(NotSoundError, match="not a release's evidence"):
        verify(broken).raise_for_problems()


@pytest.mark.slow
def test_a_revision_alone_is_sound(signed: Path, tmp_path: Path) -> None:
    """Downloaded as a branch: sums, signature, and that it loads."""
    alone = Path(shutil.copytree(revision_of(signed), tmp_path / "alone"))
    found = verify(alone, PublicKey(signed / "model.pub"))
    assert found.problems == []
    assert [(check.number, check.status) for check in found.checks] == [(10, "pass")]


@pytest.mark.slow
def test_without_transformers_all_else_is_looked_at(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is said that loading was not."""
    monkeypatch.setattr(verifying, "has_transformers", lambda: False)
    found = verify(released)
    assert found.problems == []
    assert re.search(r"^10 not run +loading +.*transformers is not installed", str(found), re.M)


@pytest.mark.slow
def test_the_commands_of_verify_md_run_as_they_stand(released: Path) -> None:
    """In French and English: those of coreutils, of openssl, of the OpenSSF, and ours."""
    text = (released / "VERIFY.md").read_text()
    commands = re.findall(r"^```sh\n(.+?)\n```$", text, re.M | re.S)
    assert [command.split()[0] for command in commands] == ["sha256sum", "python", "openssl", "clapas"] * 2
    python = f'python() {{ "{sys.executable}" "$@"; }}; clapas() {{ python -m clapas "$@"; }}; set -o pipefail; '
    for command in [*commands[:3], f"{commands[3]} --quick"]:
        result = subprocess.run(
            ["bash", "-c", python + command], cwd=released, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
        if command.startswith("openssl"):
            assert result.stdout.split()[0] in text
