"""What is published: the files of a release, and of each of its intermediate revisions, as their sums name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas.release.answers import Answers, read_answers
from clapas.release.layout import ANSWERS, REVISIONS, SIGNATURE
from clapas.release.signature import Keyless, is_keyless
from clapas.release.sums import Digests, read_sums, release_files
from clapas.release.verify import verify

MAIN = "main"


@dataclass(frozen=True, slots=True)
class File:
    """A file to publish. size: bytes. sha256: hexadecimal."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one branch shall hold, and nothing else. files: by their name there."""

    branch: str
    files: Mapping[str, File]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True, slots=True)
class Contents:
    """A sound release. main: the model. revisions: intermediate checkpoints, each a model of its own."""

    folder: Path
    answers: Answers
    main: Part
    revisions: tuple[Part, ...]

    @property
    def name(self) -> str:
        """The model's name in addresses."""
        return self.answers.model.repository.split("/")[1]

    @property
    def version(self) -> str:
        """What the tag says."""
        return self.answers.model.version

    @property
    def parts(self) -> tuple[Part, ...]:
        """The revisions, then the model: the order in which they become public."""
        return (*self.revisions, self.main)


def read_contents(folder: Path) -> Contents:
    """What a folder publishes, after `clapas verify` has found it sound. Raises NotSoundError where it is not, and as
    `contents_of` does."""
    folder = folder.resolve()
    verify(folder, _identity(folder)).raise_for_problems()
    return contents_of(folder)


def _identity(folder: Path) -> Keyless | None:
    """Who signed through Sigstore, as the answers say; None where a key did."""
    if not (folder / SIGNATURE).is_file() or not is_keyless(folder / SIGNATURE):
        return None
    signer = read_answers(folder / ANSWERS).signer
    return None if signer is None else Keyless(signer.identity, signer.provider)


def contents_of(folder: Path) -> Contents:
    """The same of a folder that is known to be sound. Raises UserError where its `release.yaml` is still open, or a
    revision's name cannot be a branch of its own."""
    answers = read_answers(folder / ANSWERS)
    revisions = sorted(path for path in (folder / REVISIONS).glob("*") if path.is_dir())
    for revision in revisions:
        _refuse_reserved(revision)
    parts = tuple(Part(revision.name, _files(revision)) for revision in revisions)
    return Contents(folder, answers, Part(MAIN, _files(folder)), parts)


def _refuse_reserved(revision: Path) -> None:
    if revision.name in (MAIN, "HEAD"):
        raise UserError("a revision cannot have this name", where=revision, wanted="such as stage1-step5000-tokens10B")


def _files(folder: Path) -> dict[str, File]:
    """All files of a release or of a revision. What the sums list is known from them; they and the signature are not
    in themselves."""
    sums, names = read_sums(folder), release_files(folder)
    digests = sums | Digests().of(folder, [name for name in names if name not in sums])
    return {name: File(path := folder / name, path.stat().st_size, digests[name]) for name in names}
