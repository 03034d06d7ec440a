"""SHA256SUMS: the digest of every file of a release, in the form that `sha256sum -c` reads.

Weights are large, so a digest is kept by the file's identity and times: sums, signature and whoever else asks in one
release read each file once. Symbolic links are never followed: what they point to is not part of the folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from threading import Lock

from clapas.recipe.errors import ClapasError
from clapas.recipe.files import atomic_write
from clapas.recipe.hashes import file_hash
from clapas.release.layout import REVISIONS, SIGNATURE, SUMS

OF_CLIENTS = (".git", ".gitattributes", ".github", ".gitignore", ".cache/huggingface")
"""What git and the Hub's client put beside a model's files: no part of a release."""
LINE = re.compile(r"([0-9a-f]{64})  ([^\\]+)")
"""coreutils marks names with a newline or a backslash by a leading backslash: no release has such a name."""


class NotSoundError(ClapasError):
    """A release that is not what it says that it is; exit 1."""


class Digests:
    """SHA-256 of files' contents; each is read once as long as it does not change, whatever its names.

    Who asks while another thread hashes waits for it, rather than read the same files.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int], str] = {}
        self._hashing = Lock()

    def of(self, folder: Path, names: Iterable[str]) -> dict[str, str]:
        """Name in the folder -> hexadecimal digest; hashed side by side, the largest first."""
        with self._hashing:
            files = {name: _identity(folder / name) for name in names}
            new = {identity: folder / name for name, identity in files.items() if identity not in self._known}
            first = dict(sorted(new.items(), key=lambda item: -item[0][2]))
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashlib releases the interpreter's lock
                self._known |= zip(first, pool.map(file_hash, first.values()), strict=True)
            return {name: self._known[identity] for name, identity in files.items()}


def _identity(path: Path) -> tuple[int, int, int, int]:
    status = path.stat(follow_symlinks=False)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def release_files(folder: Path) -> list[str]:
    """The names (POSIX, sorted) of all files of a release, without those of its revisions and of hubs' clients.

    Raises NotSoundError for a symbolic link and for what is neither a file nor a folder.
    """
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if is_outside(name):
            continue
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            way_out = "a release has none; a cache of the Hub's client is made of them: download with `--local-dir`"
            raise NotSoundError("a symbolic link", where=path, way_out=way_out)
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise NotSoundError("neither a file nor a folder", where=path)
        if stat.S_ISREG(mode):
            names.append(name)
    return names


def is_outside(name: str) -> bool:
    """Whether a path in a release's folder is of a revision, or was put there by git or the Hub's client."""
    path = PurePosixPath(name)
    return any(path.is_relative_to(other) for other in (REVISIONS, *OF_CLIENTS))


def write_sums(folder: Path, digests: Digests) -> None:
    """Write SHA256SUMS over every file but itself and the signature, which is made last and covers the sums."""
    names = [name for name in release_files(folder) if name not in (SUMS, SIGNATURE)]
    found = digests.of(folder, names)
    atomic_write(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in found.items()))


def read_sums(folder: Path) -> dict[str, str]:
    """Name -> digest, as SHA256SUMS says. Raises NotSoundError for a line of another form, or a name said twice."""
    path = folder / SUMS
    sums: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        match = LINE.fullmatch(line)
        if match is None or match[2] in sums:
            what = "not a line of sums" if match is None else "a name that stands there twice"
            wanted = "64 hexadecimal digits, two spaces, and a name"
            raise NotSoundError(what, where=f"{path}:{number}", found=repr(line[:100]), wanted=wanted)
        sums[match[2]] = match[1]
    return sums


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """A sentence for each file that is missing, altered, or not part of the release. name -> digest."""
    missing = [f"{name} is missing" for name in wanted if name not in found]
    altered = [f"{name} is altered" for name, digest in wanted.items() if found.get(name, digest) != digest]
    return missing + altered + [f"{name} is not part of the release" for name in found if name not in wanted]
