"""A mirror in a folder, which a web server shows to the public."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write, partial_of, sync_file, sync_folder
from clapas.recipe.hashes import file_hash
from clapas.release.publish.contents import File


@dataclass(frozen=True)
class FolderStore:
    """The folder `root`, made when the first file comes. See `mirror.Store`."""

    root: Path

    @property
    def url(self) -> str:
        return self.root.as_uri()

    def names(self, prefix: str) -> dict[str, int]:
        files = (path for path in (self.root / prefix).rglob("*") if not path.is_dir())
        return {path.relative_to(self.root).as_posix(): path.lstat().st_size for path in files}

    def has(self, name: str, file: File) -> bool:
        path = self.root / name
        return path.is_file() and path.stat().st_size == file.size and file_hash(path) == file.sha256

    def put(self, name: str, file: File) -> None:
        path = self.root / name
        _make(path.parent)
        partial = partial_of(path)
        try:
            shutil.copyfile(file.path, partial)
            sync_file(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)

    def sha256(self, name: str) -> str:
        path = self.root / name
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # from the disk, as far as that can be had
        return file_hash(path)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()

    def read(self, name: str) -> bytes | None:
        path = self.root / name
        return path.read_bytes() if path.is_file() else None

    def write(self, name: str, content: bytes, kind: str) -> None:
        _make(self.root)
        atomic_write(self.root / name, content)


def _make(folder: Path) -> None:
    """Make a folder of the mirror. Raises UserError where a file is in its place, or nothing can be made there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
        what = "the mirror's folder cannot be made"
        raise UserError(what, where=folder, found=error.strerror, wanted="a folder, or a place for one") from None
