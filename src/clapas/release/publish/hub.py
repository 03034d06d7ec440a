"""`clapas publish DIR --repo OWNER/NAME`: a release onto a Hub, so that nothing partial or wrong is ever on `main`.

Each part is committed to a staging branch first and read back from there: every file's bytes. Only when all parts hold
do they become public: a revision's branch appears at the commit that was read, `main` takes the release in one commit
(its large files are there already), and last the version's tag. Each step looks first at what is there, so that an
interrupted publication goes on when the command is run again, and a finished one changes nothing.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from clapas.recipe.errors import UserError
from clapas.release.gate.checks.upload import WRITTEN_BY_A_HUB, Place, Stored, Tag
from clapas.release.layout import SUMS
from clapas.release.publish.contents import MAIN, Contents, Part
from clapas.release.publish.patience import waits
from clapas.release.publish.record import Publication, checked, record
from clapas.release.publish.remote import Refs, Remote, Seen, differ

STAGING = "clapas-staging-"
DOWNLOADS = 4
"""Files that are read back at a time."""


def publish(
    contents: Contents, repo: str, *, private: bool = False, endpoint: str | None = None, quick: bool = False
) -> Publication:
    """Publish a release, or go on with that; see the module. quick: of large files take the Hub's own word for their
    SHA-256, instead of downloading them again.

    Raises UserError where the Hub holds something else under this version or in this repository, or does not accept the
    token; LineError where it does not answer; HubError for what it refuses otherwise; UploadError where what it gives
    back is not the release.
    """
    remote = Remote(repo, endpoint)
    if not remote.exists():
        remote.create(private)
    refs = remote.refs()
    _refuse_foreign(remote, refs)
    _refuse_taken(remote, refs, contents)
    reader = Reader(remote, quick)
    missing = [part for part in contents.parts if not _holds(remote, refs, part)]
    for part in missing:
        _stage(reader, refs, part, contents.version)
    for part in missing:
        _show(remote, refs, part, contents.version)
    tagged = contents.version in refs.tags
    if not tagged:
        remote.create_tag(contents.version, remote.hold(MAIN, contents.main, _title(contents.version)))
    places, tag = look(reader, contents)
    for branch in remote.refs().branches:
        if branch in {STAGING + part.branch for part in contents.parts}:
            remote.delete_branch(branch)
    check = checked(remote.url, places, tag, "it is public: see to it now")
    return record(contents, remote.url, places, tag, check, already=tagged and not missing)


class Reader:
    """Reads files back from a Hub, each content once. quick: as in `publish`."""

    def __init__(self, remote: Remote, quick: bool = False) -> None:
        self.remote = remote
        self.quick = quick
        self._known: dict[str, str] = {}

    def place(self, part: Part, commit: str | None) -> Place:
        """What a part's branch holds at a commit (None: there is no such branch)."""
        wanted = {name: file.sha256 for name, file in part.files.items()}
        if commit is None:
            return Place(part.branch, None, wanted, {})
        files = self.remote.files(commit)
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            ours = {name: seen for name, seen in files.items() if name in wanted}
            read = dict(zip(ours, pool.map(lambda item: self._read(commit, *item), ours.items()), strict=True))
        return Place(part.branch, commit, wanted, {n: Stored(s.size, s.sha256, read.get(n)) for n, s in files.items()})

    def _read(self, commit: str, name: str, seen: Seen) -> str | None:
        if self.quick and seen.sha256 is not None:
            return None
        if seen.oid not in self._known:  # git names content: the same oid on another branch is the same bytes
            self._known[seen.oid] = self.remote.read(commit, name, seen.size)
        return self._known[seen.oid]


def look(reader: Reader, contents: Contents) -> tuple[tuple[Place, ...], Tag]:
    """What the Hub holds of a release: each branch as it is now, and the tag. Refs that a Hub answers late, from before
    the last commit, are asked again."""
    refs = Refs({}, {})
    for wait in waits():
        time.sleep(wait)
        refs = reader.remote.refs()
        if contents.version in refs.tags and all(_holds(reader.remote, refs, part) for part in contents.parts):
            break
    places = tuple(reader.place(part, refs.branches.get(part.branch)) for part in contents.parts)
    return places, Tag(contents.version, refs.branches.get(MAIN), refs.tags.get(contents.version))


def _title(version: str) -> str:
    return f"Version {version}"


def _holds(remote: Remote, refs: Refs, part: Part) -> bool:
    """Whether a branch holds a part and nothing else, as the Hub lists it."""
    return part.branch in refs.branches and not differ(part, remote.files(refs.branches[part.branch]))


def _refuse_foreign(remote: Remote, refs: Refs) -> None:
    """Raise UserError where `main` holds something that no release of ours left: it would be removed."""
    files = remote.files(refs.branches[MAIN]).keys() - WRITTEN_BY_A_HUB
    if files and SUMS not in files:
        raise UserError(
            "this repository holds something that is not a release: publishing would remove it",
            where=remote.url,
            found=", ".join(sorted(files)[:5]),
            way_out="another --repo; or empty this one first, if nothing in it is wanted",
        )


def _refuse_taken(remote: Remote, refs: Refs, contents: Contents) -> None:
    """Raise UserError where the version is published with other content, or `main` went on from it."""
    if contents.version not in refs.tags:
        return
    if different := differ(contents.main, remote.files(refs.tags[contents.version])):
        raise UserError(
            f"version {contents.version} is published already, with other content",
            where=remote.url,
            found=f"other or missing: {', '.join(different[:5])}",
            way_out="a version is never replaced: give this release a new one (model.version in release.yaml)",
        )
    if different := differ(contents.main, remote.files(refs.branches[MAIN])):
        raise UserError(
            f"version {contents.version} is published, and main has changed since",
            where=remote.url,
            found=f"other than in this version: {', '.join(different[:5])}",
            way_out="nothing was changed. If main is not a later version, publish the newest one under a new version",
        )


def _stage(reader: Reader, refs: Refs, part: Part, version: str) -> None:
    """Commit a part to its staging branch and read it back. Raises UploadError where it is not what was sent."""
    remote, staging = reader.remote, STAGING + part.branch
    remote.create_branch(staging, refs.branches.get(part.branch, refs.branches[MAIN]))
    commit = remote.hold(staging, part, _title(version))
    checked(remote.url, (reader.place(part, commit),), None, "main was not touched")


def _show(remote: Remote, refs: Refs, part: Part, version: str) -> None:
    """Make public what was staged: a new branch at its commit, one that is there by one commit of its own."""
    if part.branch in refs.branches:
        remote.hold(part.branch, part, _title(version))
    else:
        remote.create_branch(part.branch, remote.refs().branches[STAGING + part.branch])
