"""A model's repository on a Hub, as publishing needs it: refs, files, commits and bytes, over a line that breaks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from clapas.recipe.errors import UserError
from clapas.release.gate.checks.upload import WRITTEN_BY_A_HUB
from clapas.release.publish.contents import File, Part
from clapas.release.publish.patience import HubError, patiently
from clapas_data.optional import needs

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

T = TypeVar("T")
SILENCE = 300.0
"""Seconds without a byte after which a connection counts as cut. The library's own client waits for ever."""
CHUNK = 1 << 20
ANOTHER_CAME_FIRST = (409, 412)
"""Statuses of a commit whose parent is not the branch's newest: another's, or our own whose answer was lost."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as the Hub lists it. oid: of its git blob. sha256: of a large file, as the Hub states it, else None."""

    size: int
    oid: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Refs:
    """Name -> commit."""

    branches: Mapping[str, str]
    tags: Mapping[str, str]


class Remote:
    """The repository `repo` (OWNER/NAME) at `endpoint` (None: $HF_ENDPOINT, else the public Hub).

    The token is $HF_TOKEN's and goes nowhere but into requests to that Hub.
    """

    def __init__(self, repo: str, endpoint: str | None) -> None:
        with needs("huggingface-hub", "clapas publish", extra="release"):
            from huggingface_hub import HfApi, constants, set_client_factory
            from huggingface_hub.utils import logging
        endpoint = endpoint or os.environ.get("HF_ENDPOINT")
        if endpoint and "HF_HUB_DISABLE_XET" not in os.environ:
            constants.HF_HUB_DISABLE_XET = True  # a store of the public Hub alone: others know LFS
        if constants.is_offline_mode():
            raise UserError("told not to use the network", where="HF_HUB_OFFLINE", way_out="unset HF_HUB_OFFLINE")
        if not (token := os.environ.get("HF_TOKEN")):
            raise UserError("no token", where="HF_TOKEN", wanted="a token that may write", way_out="export HF_TOKEN=…")
        logging.set_verbosity_error()  # what it warns of names addresses that stores signed
        set_client_factory(_client)
        self.repo = repo
        self.api = HfApi(endpoint=endpoint, token=token, library_name="clapas")

    @property
    def url(self) -> str:
        """The repository's page."""
        return f"{self.api.endpoint}/{self.repo}"

    def _try(self, call: Callable[[], T], doing: str, also: tuple[int, ...] = ()) -> T:
        return patiently(call, f"{doing} of {self.url}", also)

    def exists(self) -> bool:
        """Whether the repository is there."""
        from huggingface_hub.errors import RepositoryNotFoundError

        def ask() -> bool:
            try:
                self.api.list_repo_refs(self.repo)
            except RepositoryNotFoundError:
                return False
            return True

        return self._try(ask, "reading the branches")

    def create(self, private: bool) -> None:
        """Make the repository, unless it is there."""
        self._try(lambda: self.api.create_repo(self.repo, private=private, exist_ok=True), "the creation")

    def refs(self) -> Refs:
        """All branches and tags."""
        found = self._try(lambda: self.api.list_repo_refs(self.repo), "reading the branches")
        heads, tags = ({ref.name: ref.target_commit for ref in refs} for refs in (found.branches, found.tags))
        return Refs(heads, tags)

    def files(self, commit: str) -> dict[str, Seen]:
        """All files of a commit."""
        from huggingface_hub.hf_api import RepoFile

        def ask() -> dict[str, Seen]:
            tree = self.api.list_repo_tree(self.repo, recursive=True, revision=commit)
            files = (entry for entry in tree if isinstance(entry, RepoFile))
            return {f.path: Seen(f.size, f.blob_id, None if f.lfs is None else f.lfs.sha256) for f in files}

        return self._try(ask, "reading the files")

    def hold(self, branch: str, part: Part, message: str) -> str:
        """Make a branch hold a part, and nothing else, by one commit; none where it does. Returns its newest commit.

        Large files that the Hub has are not sent again. Raises HubError where another changes the branch meanwhile.
        """
        first: list[str] = []

        def once() -> str:
            head = self.refs().branches[branch]
            operations = self._operations(part, self.files(head))
            if not operations:
                return head
            if first and head != first[0]:
                raise HubError(f"{branch} was changed by another meanwhile", where=self.url, way_out="publish again")
            first[:] = [head]
            made = self.api.create_commit(
                self.repo, operations, commit_message=message, revision=branch, parent_commit=head
            )
            return made.oid

        return self._try(once, f"the commit to {branch}", also=ANOTHER_CAME_FIRST)

    def _operations(self, part: Part, there: Mapping[str, Seen]) -> list[CommitOperationAdd | CommitOperationDelete]:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[CommitOperationAdd | CommitOperationDelete] = []
        for name in differ(part, there):
            if (file := part.files.get(name)) is None:
                operations.append(CommitOperationDelete(name, is_folder=False))
                continue
            addition = CommitOperationAdd(name, str(file.path))
            addition.upload_info.sha256 = bytes.fromhex(file.sha256)  # known from the sums: it is not read twice
            operations.append(addition)
        return operations

    def create_branch(self, name: str, commit: str) -> None:
        """Make a branch at a commit, unless there is one of that name."""
        self._try(lambda: self.api.create_branch(self.repo, branch=name, revision=commit, exist_ok=True), "a branch")

    def delete_branch(self, name: str) -> None:
        """Remove a branch, if it is there."""
        from huggingface_hub.errors import RevisionNotFoundError

        def ask() -> None:
            try:
                self.api.delete_branch(self.repo, branch=name)
            except RevisionNotFoundError:
                return

        self._try(ask, f"the removal of {name}")

    def create_tag(self, name: str, commit: str) -> None:
        """Name a commit, unless the name is taken."""
        self._try(lambda: self.api.create_tag(self.repo, tag=name, revision=commit, exist_ok=True), f"the tag {name}")

    def read(self, commit: str, name: str, size: int) -> str:
        """SHA-256 of a file's bytes as the Hub sends them. A cut download goes on where it was."""
        from httpx2 import TransportError
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(self.repo, name, revision=commit, endpoint=self.api.endpoint)
        digest, have = hashlib.sha256(), 0

        def go_on() -> bool:
            nonlocal digest, have
            before = have
            headers = {**build_hf_headers(token=self.api.token), "Accept-Encoding": "identity"}
            headers |= {"Range": f"bytes={have}-"} if have else {}
            try:
                with get_session().stream("GET", url, headers=headers) as answer:
                    hf_raise_for_status(answer)
                    if have and answer.status_code != 206:  # it does not know ranges
                        digest, have = hashlib.sha256(), 0
                    for chunk in answer.iter_bytes(CHUNK):
                        digest.update(chunk)
                        have += len(chunk)
            except TransportError:
                if have <= before:
                    raise
            return have > before

        while self._try(go_on, f"reading back {name}") and have < size:
            pass
        return digest.hexdigest()


def differ(part: Part, there: Mapping[str, Seen]) -> list[str]:
    """Names of the files that a branch lacks, has otherwise, or has without being of the part."""
    other = [name for name, file in part.files.items() if name not in there or not same(file, there[name])]
    return other + sorted(there.keys() - part.files.keys() - WRITTEN_BY_A_HUB)


def same(file: File, seen: Seen) -> bool:
    """Whether a file is the one that the Hub lists: by SHA-256 for a large one, by git's own hash for another."""
    if seen.sha256 is not None:
        return seen.sha256 == file.sha256
    return seen.size == file.size and seen.oid == git_hash(file.path)


def git_hash(path: Path) -> str:
    """The SHA-1 that git names a file's content by; of small files, which Hubs keep in git itself."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _client() -> httpx2.Client:
    import httpx2

    return httpx2.Client(follow_redirects=True, timeout=SILENCE)
