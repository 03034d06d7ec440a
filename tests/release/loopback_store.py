"""What a loopback Hub keeps: objects by their content, and repositories as real commits, branches and tags."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

FIRST = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
"""`.gitattributes` of a new repository: a Hub's first commit holds it alone."""


Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


def said(value: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return status, {"Content-Type": "application/json"}, orjson.dumps(value)


class Refused(Exception):  # noqa: N818 it is an answer, not a defect
    """An answer that is not a success."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})


def git_hash(content: bytes) -> str:
    """The SHA-1 that git names a blob by."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit. oid: of its git blob (a large file's: of its pointer). sha256: of a large file, else None."""

    oid: str
    size: int
    sha256: str | None = None


def pointer(sha256: str, size: int) -> bytes:
    """What git keeps of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: all files that it holds, by their path."""

    id: str
    parent: str | None
    title: str
    files: Mapping[str, Entry]
    date: str


@dataclass
class Repository:
    """A model repository. blobs: git blobs, by oid."""

    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.branches["main"] = self.commit(None, {".gitattributes": self.blob(FIRST)}, "initial commit").id

    def blob(self, content: bytes) -> Entry:
        """Keep a small file."""
        oid = git_hash(content)
        self.blobs[oid] = content
        return Entry(oid, len(content))

    def large(self, sha256: str, size: int) -> Entry:
        """Keep the pointer to a large file."""
        return Entry(self.blob(pointer(sha256, size)).oid, size, sha256)

    def commit(self, parent: str | None, files: Mapping[str, Entry], title: str) -> Commit:
        """Make a commit, which no branch shows yet."""
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        named = f"{parent}{title}{len(self.commits)}{sorted((name, entry.oid) for name, entry in files.items())}"
        made = Commit(hashlib.sha1(named.encode()).hexdigest(), parent, title, dict(files), date)
        self.commits[made.id] = made
        return made

    def resolve(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag or a hash names."""
        named = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(named)

    def history(self, revision: str) -> Iterator[Commit]:
        """The commits of a branch, the newest first."""
        commit = self.resolve(revision)
        while commit is not None:
            yield commit
            commit = self.commits.get(commit.parent or "")
