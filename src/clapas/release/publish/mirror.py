"""`clapas publish DIR --mirror PLACE`: a release in an institution's storage, a folder that is served or an S3 bucket.

Files go to NAME/VERSION/, which no page tells of yet; they are read back, every byte; only then do `index.json`, which
programs read, and `index.html`, which people read, name the version. Files that are there already, by size and SHA-256,
are not sent again, so an interrupted publication goes on and a finished one changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from clapas.recipe.errors import UserError
from clapas.release.gate.checks.upload import Place, Stored
from clapas.release.layout import REVISIONS
from clapas.release.publish.contents import Contents, File
from clapas.release.publish.folder_store import FolderStore
from clapas.release.publish.mirror_index import INDEX, PAGE, Index, read_index, with_version
from clapas.release.publish.mirror_page import page
from clapas.release.publish.record import Publication, checked, record

AT_A_TIME = 4
"""Files that are sent, or read back."""


class Store(Protocol):
    """Where a mirror's files lie. Names are relative to the mirror, with `/`; files appear whole."""

    @property
    def url(self) -> str:
        """The mirror's address, for people."""
        ...

    def names(self, prefix: str) -> dict[str, int]:
        """All files below `prefix`: name -> bytes."""
        ...

    def has(self, name: str, file: File) -> bool:
        """Whether a file is there with this content."""
        ...

    def put(self, name: str, file: File) -> None:
        """Send a file."""
        ...

    def sha256(self, name: str) -> str:
        """Of a file's bytes, read back."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file."""
        ...

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        ...

    def write(self, name: str, content: bytes, kind: str) -> None:
        """Write a small file of a media type."""
        ...


def open_store(place: str, endpoint: str | None, folder: Path) -> Store:
    """The store that `--mirror` names. folder: the release's. Raises UserError for what cannot be one."""
    if place.startswith("s3://"):
        from clapas.release.publish.s3_store import open_s3

        return open_s3(place, endpoint)
    if "://" in place:
        raise UserError("not a mirror", where="--mirror", found=place, wanted="a folder, or s3://bucket/prefix")
    if endpoint is not None:
        raise UserError("a folder has no address", where="--endpoint", way_out="leave it out")
    root = Path(place).resolve()
    if root == folder.resolve() or folder.resolve() in root.parents:
        raise UserError("the mirror lies in the release itself", where="--mirror", found=place)
    return FolderStore(root)


def files_of(contents: Contents) -> dict[str, File]:
    """What a mirror holds of a release: name in it -> file."""
    if not re.fullmatch(r"\w[\w.-]*", contents.name):
        raise UserError("this name cannot be a folder's", where="model.repository in release.yaml", found=contents.name)
    root, files = f"{contents.name}/{contents.version}", {}
    for part in contents.parts:
        below = root if part is contents.main else f"{root}/{REVISIONS}/{part.branch}"
        files |= {f"{below}/{name}": file for name, file in part.files.items()}
    return files


def mirror(contents: Contents, store: Store) -> Publication:
    """Publish a release in a mirror, or go on with that; see the module.

    Raises UserError where the version is there with other content, or the index is none of ours; UploadError where what
    is read back is not the release, which the index then does not name; LineError and HubError as the store does.
    """
    index = read_index(store.read(INDEX), f"{store.url}/{INDEX}")
    files = files_of(contents)
    named = _refuse_taken(index, contents, files, store.url)
    sent = _send(store, f"{contents.name}/{contents.version}/", files, keep_others=named)
    place = _read_back(store, contents, files)
    check = checked(store.url, (place,), None, "the index was not changed")
    told = index if named else with_version(index, contents, files)
    written = _write_if_other(store, INDEX, told.to_json(), "application/json")
    written |= _write_if_other(store, PAGE, page(told).encode(), "text/html; charset=utf-8")
    return record(contents, store.url, (place,), None, check, already=not sent and not written)


def _refuse_taken(index: Index, contents: Contents, files: Mapping[str, File], url: str) -> bool:
    """Whether the index names the version. Raises UserError where it does so with other content."""
    known = index.version(contents.name, contents.version)
    if known is None:
        return False
    wanted = {name: file.sha256 for name, file in files.items()}
    there = {f"{contents.name}/{contents.version}/{name}": file.sha256 for name, file in known.files.items()}
    if different := sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)):
        raise UserError(
            f"version {contents.version} is published already, with other content",
            where=url,
            found=f"other or missing: {', '.join(different[:5])}",
            way_out="a version is never replaced: give this release a new one (model.version in release.yaml)",
        )
    return True


def _send(store: Store, below: str, files: Mapping[str, File], *, keep_others: bool) -> int:
    """Send what is not there; remove what an interrupted publication left. Returns how many files were sent."""
    others = store.names(below).keys() - files.keys()
    for name in sorted(others) if not keep_others else ():
        store.remove(name)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        there = dict(zip(files, pool.map(lambda item: store.has(*item), files.items()), strict=True))
        missing = {name: file for name, file in files.items() if not there[name]}
        list(pool.map(lambda item: store.put(*item), missing.items()))
    return len(missing)


def _read_back(store: Store, contents: Contents, files: Mapping[str, File]) -> Place:
    """What the mirror holds of a version now."""
    version = f"{contents.name}/{contents.version}"
    names = store.names(f"{version}/")
    ours = [name for name in names if name in files]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        read = dict(zip(ours, pool.map(store.sha256, ours), strict=True))
    found = {name: Stored(count, None, read.get(name)) for name, count in names.items()}
    wanted = {name: file.sha256 for name, file in files.items()}
    return Place(version, contents.version if names else None, wanted, found)


def _write_if_other(store: Store, name: str, content: bytes, kind: str) -> bool:
    if store.read(name) == content:
        return False
    store.write(name, content, kind)
    return True
