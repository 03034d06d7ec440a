"""Sums and signature of a release: whatever changes is found, and the tools of others agree."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clapas.recipe.errors import ClapasError, UserError
from clapas.release.keys import PASSPHRASE, fingerprint, generate_key
from clapas.release.layout import SUMS
from clapas.release.signature import Keyless, LocalKey, PublicKey, check_signature, seal, signed_files
from clapas.release.sums import Digests, NotSoundError, differences, read_sums, release_files

KEYLESS = Keyless("equipe@exemple.fr", "https://connexion.exemple.fr")


@pytest.fixture
def key(tmp_path: Path) -> LocalKey:
    """A new key of ours."""
    generate_key(tmp_path / "key")
    return LocalKey(tmp_path / "key/key.pem")


@pytest.fixture
def sealed(tmp_path: Path, key: LocalKey) -> Path:
    """A small folder with sums and signature."""
    folder = tmp_path / "modèle"
    (folder / "documents").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 64)
    (folder / "documents/données.md").write_text("d'où vient le texte\n")
    seal(folder, Digests(), key, "Modèle d'essai")
    return folder


def check(folder: Path, public: Path | None = None) -> None:
    """Ours: the digests that are found, against the signature."""
    digests = Digests().of(folder, signed_files(folder))
    check_signature(folder, digests, PublicKey(public or folder / "model.pub"))


def model_signing(verb: str, folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    """The library's own command."""
    command = [sys.executable, "-m", "model_signing", verb, "key", folder, "--signature", folder / "model.sig"]
    return subprocess.run([*map(str, [*command, *options])], capture_output=True, text=True, check=False)


def test_each_content_is_hashed_once(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its names, as long as it does not change."""
    import clapas.release.sums as sums

    hashed: list[str] = []
    original = sums.file_hash
    monkeypatch.setattr(sums, "file_hash", lambda path: hashed.append(path.name) or original(path))
    os.link(sealed / "model.safetensors", sealed / "linked")
    digests = Digests()
    first = digests.of(sealed, ["model.safetensors", "linked"])
    assert digests.of(sealed, ["linked", "model.safetensors"]) == first
    assert len(hashed) == 1
    (sealed / "linked").write_bytes(b"other")
    assert digests.of(sealed, ["linked"]) != {"linked": first["linked"]}


def test_coreutils_check_the_sums(sealed: Path) -> None:
    """`sha256sum -c` reads them, and they name every file but the signature."""
    command = ["sha256sum", "-c", "--strict", SUMS]
    assert subprocess.run(command, cwd=sealed, capture_output=True, check=False).returncode == 0
    assert set(read_sums(sealed)) == {"model.safetensors", "documents/données.md", "model.pub"}


def test_what_differs_from_the_sums_is_named() -> None:
    """Missing, altered, extra."""
    said = differences({"a": "1", "b": "2"}, {"b": "3", "c": "4"})
    assert said == ["a is missing", "b is altered", "c is not part of the release"]


def test_sums_of_another_form_are_refused(sealed: Path) -> None:
    """With the line."""
    with (sealed / SUMS).open("a") as file:
        file.write("ABC  x\n")
    with pytest.raises(NotSoundError, match=f"{SUMS}:4: not a line of sums"):
        read_sums(sealed)


def test_a_symbolic_link_is_not_followed(sealed: Path) -> None:
    """A cache of the Hub's client is made of them: the message tells how to download."""
    (sealed / "link").symlink_to(sealed / "model.safetensors")
    with pytest.raises(NotSoundError, match="--local-dir"):
        release_files(sealed)


def test_revisions_and_what_clients_leave_are_outside(sealed: Path) -> None:
    """The signature stays good, ours and by the library's command."""
    for name in ("revisions/stage1/config.json", ".cache/huggingface/x.lock", ".git/HEAD"):
        (sealed / name).parent.mkdir(parents=True, exist_ok=True)
        (sealed / name).touch()
    (sealed / ".gitattributes").touch()
    check(sealed)
    assert model_signing("verify", sealed, "--public_key", sealed / "model.pub").returncode == 0


def test_the_librarys_command_verifies_ours(sealed: Path) -> None:
    """And finds a bit, a file too many, and another key."""
    assert model_signing("verify", sealed, "--public_key", sealed / "model.pub").returncode == 0
    generate_key(sealed.parent / "other")
    other = sealed.parent / "other/key.pub.pem"
    assert model_signing("verify", sealed, "--public_key", other).returncode == 1
    (sealed / "extra").touch()
    assert model_signing("verify", sealed, "--public_key", sealed / "model.pub").returncode == 1
    (sealed / "extra").unlink()
    (sealed / "documents/données.md").write_text("d'où vient le texte?")
    assert model_signing("verify", sealed, "--public_key", sealed / "model.pub").returncode == 1


def test_ours_verifies_the_librarys_command(sealed: Path, key: LocalKey) -> None:
    """The same format both ways."""
    (sealed / "model.sig").unlink()
    assert model_signing("sign", sealed, "--private_key", key.path).returncode == 0
    check(sealed)


@pytest.mark.parametrize("name", ["model.safetensors", "documents/données.md", "model.pub", SUMS])
def test_a_changed_file_is_not_what_was_signed(sealed: Path, name: str) -> None:
    """The sums and the public key are signed too: nobody replaces them and the weights together."""
    public = sealed.parent / "key/key.pub.pem"
    check(sealed, public)
    content = bytearray((sealed / name).read_bytes())
    content[len(content) // 2] ^= 1
    (sealed / name).write_bytes(bytes(content))
    with pytest.raises(NotSoundError, match="signature is of other files"):
        check(sealed, public)


def test_another_key_is_told(sealed: Path) -> None:
    """By its hint, and by the signature itself where the hint was forged."""
    generate_key(sealed.parent / "other")
    other = sealed.parent / "other/key.pub.pem"
    with pytest.raises(NotSoundError, match="by another key"):
        check(sealed, other)
    bundle = json.loads((sealed / "model.sig").read_bytes())
    bundle["verificationMaterial"]["publicKey"]["hint"] = None
    (sealed / "model.sig").write_text(json.dumps(bundle))
    with pytest.raises(NotSoundError, match="not by this key"):
        check(sealed, other)


def test_a_changed_statement_is_told(sealed: Path) -> None:
    """Digests in the signature that were changed after signing."""
    bundle = json.loads((sealed / "model.sig").read_bytes())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload.replace(b"Mod", b"mod")).decode()
    (sealed / "model.sig").write_text(json.dumps(bundle))
    with pytest.raises(NotSoundError, match="not by this key"):
        check(sealed)


@pytest.mark.parametrize("content", ["", "{}", "no JSON", '{"verificationMaterial": 3}'])
def test_what_is_no_signature_is_told(sealed: Path, content: str) -> None:
    """Never a traceback."""
    (sealed / "model.sig").write_text(content)
    with pytest.raises(NotSoundError, match="does not verify"):
        check(sealed)


def test_no_folders_name_is_signed(sealed: Path) -> None:
    """A folder that is not whole yet has the host's name in its own."""
    bundle = json.loads((sealed / "model.sig").read_bytes())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert statement["subject"][0]["name"] == "Modèle d'essai"


def test_a_new_key_is_its_owners_alone(key: LocalKey) -> None:
    """Mode 0600; its fingerprint is what openssl says of it; it replaces no other."""
    assert key.path.stat().st_mode & 0o777 == 0o600
    public = key.path.with_name("key.pub.pem")
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", public, "-outform", "DER"], capture_output=True, check=True
    )
    said = subprocess.run(["sha256sum"], input=der.stdout, capture_output=True, check=True).stdout.decode().split()[0]
    assert fingerprint(public) == said
    before = key.path.read_bytes()
    with pytest.raises(UserError, match="never replaced"):
        generate_key(key.path.parent)
    assert key.path.read_bytes() == before
    with pytest.raises(UserError, match="a file is in the way"):
        generate_key(key.path / "keys")


def test_a_key_with_a_passphrase(tmp_path: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It signs with it, and not without."""
    monkeypatch.setenv(PASSPHRASE, "cheval pile agrafe")
    generate_key(tmp_path / "secret")
    by = LocalKey(tmp_path / "secret/key.pem")
    assert b"ENCRYPTED" in by.path.read_bytes()
    (sealed / "model.sig").unlink()
    seal(sealed, Digests(), by, "m")
    check(sealed)
    for wrong in ("", "another"):
        monkeypatch.setenv(PASSPHRASE, wrong)
        with pytest.raises(UserError, match=r"not a private key that opens[\s\S]*CLAPAS_KEY_PASSPHRASE"):
            seal(sealed, Digests(), by, "m")


def test_what_is_no_key_is_refused(tmp_path: Path, sealed: Path) -> None:
    """One message each."""
    with pytest.raises(UserError, match="no private key here"):
        seal(sealed, Digests(), LocalKey(tmp_path / "missing.pem"), "m")
    with pytest.raises(UserError, match="no public key here"):
        check(sealed, tmp_path / "missing.pem")
    with pytest.raises(UserError, match="not a public key"):
        check(sealed, sealed / "model.safetensors")


def test_keyless_is_refused_by_name_offline(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network here: one message, and the way out."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(ClapasError, match=r"not signed without a key[\s\S]*--key"):
        seal(sealed, Digests(), KEYLESS, "m")
    with pytest.raises(ClapasError, match="not verified without a key"):
        check_signature(sealed, {}, KEYLESS)
