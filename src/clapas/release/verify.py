"""`clapas verify DIR`: is this the model that was released, whole, by whom, and does it say of itself what is true?

For a stranger, offline: sums, signature, and those of the gate's checks that need no run. Weights are hashed in a thread
while another process loads them with stock transformers; nobody hashes them twice. Nothing in the folder is executed.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clapas.recipe.errors import UserError
from clapas.release.gate.check import Result
from clapas.release.gate.stranger import Stranger, has_transformers
from clapas.release.signature import Keyless, PublicKey, fingerprint, is_keyless
from clapas.release.sums import (
    PUBLIC_KEY,
    REVISIONS,
    SIGNATURE,
    SUMS,
    Digests,
    NotSoundError,
)

ANSWERS = "release.yaml"
OWN_KEY = "the key is the folder's own: it proves that nothing changed since, not who signed; compare the fingerprint"


@dataclass(frozen=True, slots=True)
class Sealed:
    """Whether a folder is as it was signed. problems: what is not. by: the key's fingerprint, or the identity.

    files: how many the signature covers. own_key: whether the key is from the folder itself.
    """

    name: str
    files: int
    by: str
    own_key: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """All that was found. sealed: of the release, then of each revision. checks: of the gate, empty where they were not
    asked for. loads: `yes`, `no`, or why that was not tried."""

    folder: Path
    sealed: tuple[Sealed, ...]
    checks: tuple[Result, ...]
    loads: str

    @property
    def problems(self) -> list[str]:
        """A sentence for each thing wrong."""
        sealed = [f"{part.name}: {problem}" for part in self.sealed for problem in part.problems]
        failed = [f"check {check.number}, {check.name}: {said}" for check in self.checks for said in _failed(check)]
        return sealed + failed

    def raise_for_problems(self) -> None:
        """Raise NotSoundError, with the first few, where the release is not sound."""
        if problems := self.problems:
            more = f"\n           and {len(problems) - 5} more" if len(problems) > 5 else ""
            found = "\n           ".join(problems[:5]) + more
            raise NotSoundError("not sound", where=self.folder, found=found, way_out="do not use it; download it again")

    def values(self) -> dict[str, Any]:
        """As plain values, for `--json`."""
        checks = [asdict(check) for check in self.checks]
        parts = [asdict(part) for part in self.sealed]
        return {"sound": not self.problems, "sealed": parts, "checks": checks, "loads": self.loads}


def _failed(check: Result) -> tuple[str, ...]:
    return check.said if check.status == "fail" else ()


def verify(folder: Path, by: PublicKey | Keyless | None = None, *, quick: bool = False) -> Verification:
    """Look at a release, or at one of its revisions that was downloaded alone.

    by: whose signature it must have; the folder's own key where None. quick: sums and signature alone.
    Raises UserError where `folder` is no release, or `by` is no key or none is known.
    """
    for name in (SUMS, SIGNATURE):
        if not (folder / name).is_file():
            wanted = "a folder that `clapas release` wrote"
            raise UserError(f"not a release: it has no {name}", where=folder, wanted=wanted)
    by = by or _own_key(folder)
    if isinstance(by, PublicKey):
        fingerprint(by.path)
    parts = [folder, *sorted(path for path in (folder / REVISIONS).glob("*") if path.is_dir())]
    digests = Digests()
    with contextlib.ExitStack() as stack:
        stranger = stack.enter_context(Stranger()) if not quick and has_transformers() else None
        pool = stack.enter_context(ThreadPoolExecutor(1))
        sealed: list[Future[Sealed]] = [pool.submit(_sealed, part, folder, by, digests) for part in parts]
        checks = () if quick else _checks(folder, stranger, digests)
        found = tuple(future.result() for future in sealed)
    return Verification(folder, found, checks, "")


def _own_key(folder: Path) -> PublicKey:
    """The key that came with the folder. Raises UserError where it was signed without one."""
    if is_keyless(folder / SIGNATURE):
        raise UserError(
            "signed by an identity: whose must it be?",
            where=folder / SIGNATURE,
            way_out="--identity and --identity-provider, as VERIFY.md says them and their owner confirms",
        )
    return PublicKey(folder / PUBLIC_KEY)
