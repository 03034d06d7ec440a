"""Debian packages: the pinned one or none, from the cache, apt, or a file."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash
from clapas_data.corpus import Source
from clapas_data.sources.debian import fetch_deb
from reading import documents, files

PAGE = ".TH ESSAI 1\n.SH NOM\nessai \\- une page\n.SH DESCRIPTION\nDu texte.\n"


def write_deb(path: Path) -> Path:
    """A package with one manual page in French, one in German and a file of another kind."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:xz") as tar:
        for name in ("./usr/share/man/fr/man1/essai.1.gz", "./usr/share/man/de/man1/essai.1.gz", "./usr/bin/essai"):
            data = gzip.compress(PAGE.encode())
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    data = file.getvalue()
    header = f"{'data.tar.xz':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
    path.write_bytes(b"!<arch>\n" + header + data)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAPAS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "debian"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not here")
def test_pages_of_a_package(cache: Path) -> None:
    """The members that match, as text; by `debian:` out of the cache, or by `files:` from anywhere."""
    path = write_deb(cache / "manpages-fr_4.18.1-1.deb")
    options: dict[str, Any] = {"pattern": "./usr/share/man/fr/*", "extract": "man"}
    pinned = Source(debian="manpages-fr=4.18.1-1", sha256=file_hash(path), licence="GPL-3.0-or-later", **options)
    assert pinned.pinned == "4.18.1-1"
    (found,) = documents(pinned)
    assert found.id == "usr/share/man/fr/man1/essai.1.gz"
    assert found.text.splitlines()[0] == "NOM"
    assert "Du texte." in found.text
    assert [d.text for d in documents(files(path, **options))] == [found.text]


def test_another_package_is_refused(cache: Path) -> None:
    """One in the cache with another hash is never read."""
    write_deb(cache / "essai_1%3a2.0-1.deb")
    with pytest.raises(UserError, match=r"not the package that the corpus pins(.|\n)*sha256"):
        fetch_deb("essai=1:2.0-1", "0" * 64)


def test_what_apt_says_is_told(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mirror that has it, or without apt: where to put the package by hand; nothing is left behind."""
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    (tmp_path / "lists").mkdir()
    (tmp_path / "apt.conf").write_text(f'Dir::State::Lists "{tmp_path}/lists";\nDir::Cache "{tmp_path}/apt";\n')
    for path in (os.environ["PATH"], str(tmp_path)):
        monkeypatch.setenv("PATH", path)
        with pytest.raises(UserError, match=r"essai-none_1\.0\.deb: could not fetch essai-none=1\.0: ") as error:
            fetch_deb("essai-none=1.0", "0" * 64)
        assert "snapshot.debian.org" in str(error.value)
    assert [path.name for path in cache.iterdir()] == [".lock"]
