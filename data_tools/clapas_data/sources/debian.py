"""`debian:` a package of an exact version, fetched by the system's own apt, checked by hash, read in Python.

Mirrors drop old versions: where the one that a corpus pins is gone from yours, snapshot.debian.org has it, and the
file is put into the cache by hand. A .deb that lies somewhere is also read by `files:`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas.recipe.files import sync_file
from clapas.recipe.hashes import file_hash
from clapas_data.cache import cache_folder
from clapas_data.corpus import Source
from clapas_data.files import locked
from clapas_data.sources.archive import documents_of_member, members
from clapas_data.sources.part import Part, RawDocument

TIMEOUT = 600
"""Seconds that one package may take."""


def files(name: str, source: Source) -> list[str]:
    """None: a package's version and hash identify it."""
    return []


def parts(name: str, source: Source) -> list[Part]:
    """The package, fetched where it must be, as one part."""
    return [Part(source, (str(fetch_deb(source.debian or "", source.sha256 or "")),))]


def read(part: Part) -> Iterator[RawDocument]:
    """The documents of the members that match."""
    path = part.paths[0]
    for member in members(path, part.source.pattern or "*"):
        yield from documents_of_member(part.source, member, f"{path}/{member.name}")


def fetch_deb(package: str, sha256: str) -> Path:
    """The .deb of `name=version`, from the cache or from apt's mirror.

    Raises UserError where it cannot be fetched, which says where to put it by hand, or where its hash is another.
    """
    folder = cache_folder("debian")
    path = folder / f"{package.replace('=', '_').replace(':', '%3a')}.deb"
    with locked(folder):
        if path.exists():
            if (found := file_hash(path)) == sha256:
                return path
            raise UserError(
                "not the package that the corpus pins", where=path, found=f"sha256 {found}", wanted=f"sha256 {sha256}",
                way_out="remove it: it is fetched again; or correct `sha256` in the corpus file, if you trust it",
            )  # fmt: skip
        print(f"fetching {package} (apt)", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
            fetched = _apt_download(package, Path(temporary), by_hand=path)
            if (found := file_hash(fetched)) != sha256:
                raise UserError(
                    f"{package}: not the package that the corpus pins",
                    found=f"sha256 {found}",
                    wanted=f"sha256 {sha256}",
                    way_out="correct `sha256` in the corpus file, if you trust your mirror",
                )
            sync_file(fetched)
            fetched.replace(path)
    return path


def _apt_download(package: str, folder: Path, by_hand: Path) -> Path:
    command = shutil.which("apt-get")
    trouble = "there is no apt-get here"
    if command is not None:
        try:
            run = subprocess.run(
                [command, "download", "-q", package],
                cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False,
            )  # fmt: skip
            errors = [line for line in run.stderr.splitlines() if line.startswith("E:")]
            trouble = errors[0].removeprefix("E: ") if errors else "apt-get gave no package"
        except subprocess.TimeoutExpired:
            trouble = f"no answer within {TIMEOUT} seconds"
    fetched = next(folder.glob("*.deb"), None)
    if fetched is None:
        raise UserError(
            f"could not fetch {package}: {trouble}",
            where=by_hand,
            way_out="download it where it is (https://snapshot.debian.org has every version) and put the file there",
        )
    return fetched
