"""The verb `publish`: where to, what is done or would be, and what is said of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas.release.documents.words import size
from clapas.release.publish.contents import File, read_contents
from clapas.release.publish.record import Publication

WORD = r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be published. files: branch or folder -> name -> bytes."""

    where: str
    version: str
    files: dict[str, dict[str, int]]

    def table(self) -> str:
        """For people."""
        lines = [f"version {self.version} would go to {self.where}; nothing was sent"]
        for target, files in self.files.items():
            lines.append(f"  {target}: {len(files)} files, {size(sum(files.values()), 'en')}")
            lines += [f"    {count:>16,} B  {name}" for name, count in sorted(files.items())]
        return "\n".join(lines)


def publish_to_hub(
    folder: Path, repo: str, *, private: bool, endpoint: str | None, quick: bool, dry_run: bool
) -> Publication | Planned:
    """`clapas publish DIR --repo OWNER/NAME`. dry_run: ask the Hub nothing."""
    from clapas.release.publish.hub import publish

    if not re.fullmatch(f"{WORD}/{WORD}", repo):
        raise UserError("not the name of a repository", where="--repo", found=repo, wanted="OWNER/NAME")
    _check_address(endpoint)
    contents = read_contents(folder)
    if repo != (told := contents.answers.model.repository):
        print(f"warning: the card tells its readers of {told}, and this is {repo}", file=sys.stderr)
    if dry_run:
        return Planned(repo, contents.version, {part.branch: _sizes(part.files) for part in contents.parts})
    return publish(contents, repo, private=private, endpoint=endpoint, quick=quick)


def publish_to_mirror(folder: Path, place: str, *, endpoint: str | None, dry_run: bool) -> Publication | Planned:
    """`clapas publish DIR --mirror FOLDER_OR_S3_URL`. dry_run: touch the mirror not at all."""
    from clapas.release.publish.mirror import files_of, mirror, open_store

    _check_address(endpoint)
    store = open_store(place, endpoint, folder)
    contents = read_contents(folder)
    if dry_run:
        return Planned(store.url, contents.version, {store.url: _sizes(files_of(contents))})
    return mirror(contents, store)


def _check_address(endpoint: str | None) -> None:
    if endpoint is not None and not re.match(r"https?://[^/]", endpoint):
        raise UserError("not an address", where="--endpoint", found=endpoint, wanted="https://…")


def _sizes(files: Mapping[str, File]) -> dict[str, int]:
    return {name: file.size for name, file in files.items()}
