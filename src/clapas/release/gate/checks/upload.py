"""Check 24: what the public can download now is what was released, and the version's name says so for good.

A draft cannot be asked this: `clapas publish` runs the check once it has uploaded, on what it read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run

WRITTEN_BY_A_HUB = frozenset({".gitattributes"})
"""Files that a Hub adds by itself."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file where it was published. stated: the SHA-256 that the place itself gives, if it does. read: that of the
    bytes downloaded from it; None where they were not. size: bytes, as the place says."""

    size: int
    stated: str | None
    read: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """A branch of a Hub, or a version in a mirror: what it shall hold and what it holds, by name.

    revision: the commit; None where there is no such branch or version. wanted: SHA-256 of each file.
    """

    name: str
    revision: str | None
    wanted: Mapping[str, str]
    found: Mapping[str, Stored]


@dataclass(frozen=True, slots=True)
class Tag:
    """The version's name: the revision that it shall name, and the one that it names (None: there is none)."""

    name: str
    wanted: str | None
    found: str | None


def judge_upload(places: tuple[Place, ...], tag: Tag | None) -> Verdict:
    """Whether every place holds what it shall and nothing else, and the tag, if places have such, stands there."""
    problems = [problem for place in places for problem in _differences(place)]
    if tag is not None and (tag.found is None or tag.found != tag.wanted):
        problems.append(f"tag {tag.name}: {tag.found or 'missing'}, and not {tag.wanted}")
    files = [file for place in places for file in place.found.values()]
    read = sum(file.read is not None for file in files)
    names = ", ".join(place.name for place in places)
    return judged(problems, f"{names}: {len(files)} files hold what was released, {read} of them downloaded again")


def _differences(place: Place) -> Iterator[str]:
    if place.revision is None:
        yield f"{place.name}: missing"
        return
    for name in sorted(place.wanted.keys() - place.found.keys()):
        yield f"{place.name}: {name} is missing"
    for name in sorted(place.found.keys() - place.wanted.keys() - WRITTEN_BY_A_HUB):
        yield f"{place.name}: {name} is not part of the release"
    for name in sorted(place.wanted.keys() & place.found.keys()):
        wanted, found = place.wanted[name], place.found[name]
        hashes = {digest for digest in (found.stated, found.read) if digest is not None}
        if hashes != {wanted}:
            there = " and ".join(sorted(hashes - {wanted})) or "no hash"
            yield f"{place.name}: {name} is SHA-256 {there}, and not {wanted}"


def _of_a_draft(draft: Draft) -> Verdict:
    return not_run("not published yet: `clapas publish` runs this check on what it reads back")


CHECK = Check(24, "upload", "what was published, read back, is what was released", _of_a_draft, lambda draft: False)
