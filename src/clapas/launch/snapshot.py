"""Which code a launch ran with: a commit and what was changed on top of it, or the version of a wheel."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import clapas
from clapas import __version__
from clapas.launch.secrets import hide

MOST_DIFF_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Code:
    """commit: None where Clapas does not run from a git checkout. diff: of the files that git knows, without secrets.

    diff_sha256: of the diff as it was. untracked: files beside the code that git does not know.
    """

    version: str
    commit: str | None = None
    diff: str = ""
    diff_sha256: str | None = None
    untracked: tuple[str, ...] = ()

    def facts(self) -> dict[str, object]:
        """What `code.json` says."""
        facts = {"version": self.version, "commit": self.commit, "diff_sha256": self.diff_sha256}
        return {**facts, "untracked": list(self.untracked)} if self.commit else {"version": self.version}

    def same_as(self, facts: dict[str, object]) -> bool:
        """Whether `code.json` tells of this code."""
        return all(facts.get(name) == value for name, value in self.facts().items() if name != "untracked")


def code_version() -> Code:
    """Of the Clapas that runs. The address of the repository is not asked for: it may hold a password."""
    package = Path(clapas.__file__).resolve().parent
    root = _git(package, "rev-parse", "--show-toplevel").strip()
    tracked = bool(root) and bool(_git(package, "ls-files", "--", "__init__.py").strip())
    if not tracked:
        return Code(__version__)
    commit = _git(Path(root), "rev-parse", "HEAD").strip()
    diff = _git(Path(root), "diff", "HEAD", "--no-ext-diff")
    untracked = _git(package, "ls-files", "--others", "--exclude-standard").split()
    if not diff:
        return Code(__version__, commit, untracked=tuple(untracked))
    digest = hashlib.sha256(diff.encode()).hexdigest()
    kept = hide(diff) if len(diff) <= MOST_DIFF_BYTES else f"(over {MOST_DIFF_BYTES} bytes: not kept)\n"
    return Code(__version__, commit, kept, digest, tuple(untracked))


def _git(folder: Path, *arguments: str) -> str:
    """What git says there; nothing where there is no git, no repository, or no answer within a minute."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.decode(errors="replace") if result.returncode == 0 else ""
