"""`clapas verify DIR`: is this the model that was released, whole, by whom, and is what it says of itself true?

For a stranger, offline: sums, signature, and those of the gate's checks that need no run. Weights are hashed, once, in
a thread while another process loads them with stock transformers. Nothing in the folder is executed.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from clapas.recipe.errors import ClapasError, UserError
from clapas.release.gate.stranger import Stranger, has_transformers
from clapas.release.keys import fingerprint
from clapas.release.layout import ANSWERS, EVIDENCE, GGUF, PUBLIC_KEY, RESULTS, REVISIONS, SIGNATURE, SUMS
from clapas.release.signature import Keyless, PublicKey, check_signature, is_keyless, signed_files
from clapas.release.sums import Digests, NotSoundError, differences, read_sums

if TYPE_CHECKING:  # the gate imports torch: meanwhile the stranger's process, which is started first, imports too
    from clapas.release.gate.check import Result

OWN_KEY = "the key came with the folder: nothing changed since it signed, but whose it is, its fingerprint must tell"
SHOWN = 5
"""Problems that a message names."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Whether a folder is as it was signed. files: how many the signature covers. problems: what is not as signed."""

    name: str
    files: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """All that was found.

    signed_by: the fingerprint of a key, or an identity. own_key: whether the key was the folder's own. sealed: of the
    release, then of each revision. checks: of the gate, as far as a stranger can run them; empty where that was not
    asked for. at_release: number of a check -> what release.json says of it.
    """

    folder: Path
    signed_by: str
    own_key: bool
    sealed: tuple[Sealed, ...]
    checks: tuple[Result, ...]
    at_release: dict[int, str]

    @property
    def problems(self) -> list[str]:
        """A sentence for each thing wrong."""
        sealed = [f"{part.name}: {problem}" for part in self.sealed for problem in part.problems]
        failed = [check for check in self.checks if check.status == "fail"]
        return sealed + [f"check {check.number}, {check.name}: {said}" for check in failed for said in check.said]

    def raise_for_problems(self) -> None:
        """Raise NotSoundError, which names the first few, where the release is not sound."""
        if not (problems := self.problems):
            return
        named = problems[:SHOWN] + [f"and {len(problems) - SHOWN} more"] * (len(problems) > SHOWN)
        found = named[0] if len(named) == 1 else "".join(f"\n           {problem}" for problem in named)
        way_out = "do not use it; download it again, and tell its provider if it stays so"
        raise NotSoundError("not sound", where=self.folder, found=found, way_out=way_out)

    def to_json(self) -> str:
        """For `--json`."""
        parts = {name: [asdict(part) for part in getattr(self, name)] for name in ("sealed", "checks")}
        values = {"sound": not self.problems, "signed_by": self.signed_by, "own_key": self.own_key, **parts}
        return orjson.dumps(values, option=orjson.OPT_INDENT_2).decode()

    def __str__(self) -> str:
        width = max(len(part.name) for part in self.sealed)
        said = "to be signed by" if any(part.problems for part in self.sealed) else "signed by"
        lines = [f"{said} {self.signed_by}" + f"\n          ({OWN_KEY})" * self.own_key]
        for part in self.sealed:
            said = "; ".join(part.problems) or f"{part.files} files, as summed and signed"
            lines.append(f"   {'FAIL   ' if part.problems else 'pass   '} {part.name:<{width}}  {said}")
        if self.checks:
            from clapas.release.gate.gate import results_table

            lines.append(results_table(self.checks))
        waiting = [check.number for check in self.checks if check.status == "not-run"]
        passed = [number for number in waiting if self.at_release.get(number) == "pass"]
        if passed:
            listed = ", ".join(map(str, passed))
            lines.append(f"not run here, passed where it was released (release.json): {listed}")
        lines.append(
            "NOT sound" if self.problems else f"sound{'' if self.checks else ', as far as was looked (--quick)'}"
        )
        return "\n".join(lines)


def verify(folder: Path, by: PublicKey | Keyless | None = None, *, quick: bool = False) -> Verification:
    """Look at a release, or at one of its revisions that was downloaded alone.

    by: whose signature it must have; None: the folder's own key's. quick: sums and signature alone.
    Raises UserError where `folder` is no release, `by` is no key, or an identity is needed.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise UserError("no such folder", where=folder, found=found, wanted="a folder that `clapas release` wrote")
    for name in (SUMS, SIGNATURE):
        if not (folder / name).is_file():
            wanted = "a folder that `clapas release` wrote"
            raise UserError(f"not a release: it has no {name}", where=folder, wanted=wanted)
    folder = folder.resolve()
    own_key = by is None or (isinstance(by, PublicKey) and by.path.resolve() == folder / PUBLIC_KEY)
    by = by or _own_key(folder)
    signed_by = (
        f"the key SHA-256 {fingerprint(by.path)}" if isinstance(by, PublicKey) else f"{by.identity} ({by.provider})"
    )
    parts = [folder, *sorted(path for path in (folder / REVISIONS).glob("*") if path.is_dir())]
    digests = Digests()
    with contextlib.ExitStack() as stack:
        stranger = stack.enter_context(Stranger()) if not quick and has_transformers() else None
        pool = stack.enter_context(ThreadPoolExecutor(1))
        sealed: list[Future[Sealed]] = [pool.submit(_sealed, part, folder, by, digests) for part in parts]
        checks = () if quick else _checks(folder, stranger, digests)
        found = tuple(future.result() for future in sealed)
    return Verification(folder, signed_by, own_key, found, checks, _at_release(folder))


def whose(public_key: Path | None, identity: str | None, provider: str | None) -> PublicKey | Keyless | None:
    """Whose signature the command line asks for. Raises UserError for half an identity, or two answers."""
    if (identity is None) != (provider is None) or (public_key is not None and identity is not None):
        wanted = "--public-key, or --identity and --identity-provider"
        raise UserError("whose signature it must have is not clear", where="clapas verify", wanted=wanted)
    if identity is not None and provider is not None:
        return Keyless(identity, provider)
    return None if public_key is None else PublicKey(public_key)


def _own_key(folder: Path) -> PublicKey:
    """The key that came with the folder. Raises UserError where an identity signed, NotSoundError where it is gone."""
    if is_keyless(folder / SIGNATURE):
        raise UserError(
            "signed by an identity: whose must it be?",
            where=folder / SIGNATURE,
            way_out="--identity and --identity-provider, as VERIFY.md says them and their owner confirms",
        )
    if not (folder / PUBLIC_KEY).is_file():
        raise NotSoundError("the release has lost its public key", where=folder / PUBLIC_KEY, way_out="--public-key")
    return PublicKey(folder / PUBLIC_KEY)


def _sealed(part: Path, release: Path, by: PublicKey | Keyless, digests: Digests) -> Sealed:
    """Sums and signature of a folder."""
    name = release.name if part == release else part.relative_to(release).as_posix()
    found: dict[str, str] = {}
    problems: list[str] = []
    try:
        found = digests.of(part, signed_files(part))
        summed = {file: digest for file, digest in found.items() if file != SUMS}
        problems += differences(read_sums(part), summed)
        if not problems:  # else the signature says the same again, in worse words
            check_signature(part, found, by)
    except NotSoundError as error:
        problems.append(_said(error))
    except OSError as error:
        problems.append(f"{error.filename}: {error.strerror}")
    return Sealed(name, len(found), tuple(problems))


def _checks(folder: Path, stranger: Stranger | None, digests: Digests) -> tuple[Result, ...]:
    """The gate's, without the run. A revision that was downloaded alone has no evidence: that it loads is all.

    Those that wait for the stranger wait in a thread, while the others look at documents.
    """
    from clapas.release.answers import read_answers
    from clapas.release.evidence.evidence import read_evidence
    from clapas.release.gate.all_checks import BEFORE_SEALING, OF_MODEL
    from clapas.release.gate.check import Draft, Result
    from clapas.release.gate.checks import revisions
    from clapas.release.gate.gate import run_checks

    if not (folder / EVIDENCE).is_file() and EVIDENCE not in _sums(folder):
        return (_loading(folder, stranger),)
    try:
        evidence, answers = read_evidence(folder), read_answers(folder / ANSWERS)
    except (ClapasError, OSError) as error:
        said = _said(error) if isinstance(error, ClapasError) else f"{error.filename}: {error.strerror}"
        return (Result(21, "card", "the card says what the evidence says", True, "fail", (said,)),)
    gguf = tuple(sorted(path.stem.rsplit("-", 1)[-1] for path in (folder / GGUF).glob("*.gguf")))
    parts = tuple(sorted(path.name for path in (folder / REVISIONS).glob("*")))
    draft = Draft(folder, evidence, answers, None, stranger, gguf, parts, digests=digests)
    others = [check for check in BEFORE_SEALING if check not in (*OF_MODEL, revisions.CHECK)]
    with ThreadPoolExecutor(1) as waiting:
        of_model = waiting.submit(run_checks, draft, OF_MODEL)
        of_others = run_checks(draft, others)
        return (*of_model.result(), *of_others, *run_checks(draft, (revisions.CHECK,)))


def _loading(folder: Path, stranger: Stranger | None) -> Result:
    from clapas.release.gate.check import Result

    what = "loads in a clean, offline process with stock transformers"
    if stranger is None:
        return Result(10, "loading", what, True, "not-run", ("transformers is not installed",))
    seen = stranger.look(folder, None)
    problems = [problem for problem in (seen.error, seen.tokenizer_error) if problem]
    problems += [f"{kind}: {keys}" for kind, keys in (seen.keys or {}).items()]
    if not problems and not seen.finite:
        problems.append("its logits are not finite")
    said = tuple(problems) or (f"{seen.parameters} parameters",)
    return Result(10, "loading", what, True, "fail" if problems else "pass", said)


def _sums(folder: Path) -> dict[str, str]:
    """As SHA256SUMS says; nothing where it cannot be read, which `_sealed` tells."""
    try:
        return read_sums(folder)
    except NotSoundError:
        return {}


def _at_release(folder: Path) -> dict[int, str]:
    """What release.json says; whether that can be trusted, the signature says."""
    try:
        checks = orjson.loads((folder / RESULTS).read_bytes())["checks"]
        return {int(check["number"]): str(check["status"]) for check in checks}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _said(error: ClapasError) -> str:
    """A message on one line."""
    where = f"{Path(error.where).name}: " if error.where else ""
    return f"{where}{error.what}" + (f" ({error.way_out})" if error.way_out else "")
