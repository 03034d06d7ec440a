"""`DIR.publication.json`, beside a release: where it was published, as what, and what was read back from there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from clapas.recipe.errors import ClapasError
from clapas.recipe.files import atomic_write
from clapas.release.gate.check import Result
from clapas.release.gate.checks.upload import CHECK, Place, Tag, judge_upload
from clapas.release.publish.contents import Contents


class UploadError(ClapasError):
    """What the place gives back is not what was released."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A release as it was found where it was published.

    where: address. revisions: commit of each branch. files: branch -> file -> SHA-256. downloaded: files whose bytes
    were read back, of all. check: the gate's check 24. published, checked: UTC, ISO 8601; the first time, and this one.
    already: whether all was there before.
    """

    where: str
    version: str
    revisions: dict[str, str | None]
    tag: str | None
    files: dict[str, dict[str, str]]
    downloaded: int
    check: dict[str, Any]
    published: str
    checked: str
    already: bool

    def table(self) -> str:
        """For people."""
        count = sum(map(len, self.files.values()))
        lines = [f"{'already there' if self.already else 'published'}: version {self.version} at {self.where}"]
        lines += [f"  {branch:<40} {revision or ''}" for branch, revision in self.revisions.items()]
        return "\n".join([*lines, f"  {count} files as released, {self.downloaded} of them downloaded again to see"])


def record_path(folder: Path) -> Path:
    """Beside the release's folder, which its signature closed."""
    return folder.with_name(f"{folder.name}.publication.json")


def record(
    contents: Contents, where: str, places: tuple[Place, ...], tag: Tag | None, check: Result, *, already: bool
) -> Publication:
    """Write what was published, beside what was published elsewhere, and return it."""
    path = record_path(contents.folder)
    known: dict[str, Any] = orjson.loads(path.read_bytes()) if path.is_file() else {"version": 1, "places": {}}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = known["places"].get(where, {})
    made = Publication(
        where=where,
        version=contents.version,
        revisions={place.name: place.revision for place in places},
        tag=None if tag is None else tag.name,
        files={place.name: dict(place.wanted) for place in places},
        downloaded=sum(file.read is not None for place in places for file in place.found.values()),
        check=asdict(check),
        published=before["published"] if before.get("version") == contents.version and already else now,
        checked=now,
        already=already,
    )
    known["places"][where] = asdict(made)
    atomic_write(path, orjson.dumps(known, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return made


def checked(url: str, places: tuple[Place, ...], tag: Tag | None, untouched: str) -> Result:
    """Check 24. Raises UploadError where it fails. untouched: what the public sees then."""
    verdict = judge_upload(places, tag)
    if verdict.status == "fail":
        raise UploadError(
            f"what was uploaded is not what was released; {untouched}",
            where=url,
            found="".join(f"\n    {problem}" for problem in verdict.said),
            way_out="delete what is wrong where it is stored (on a Hub: settings, storage) and publish again; what is "
            "there is not sent again",
        )
    return Result(CHECK.number, CHECK.name, CHECK.what, True, verdict.status, verdict.said)
