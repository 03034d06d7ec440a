"""Check 23: a copy of the sealed release verifies, by tools of others and in processes of their own.

The signature was made with digests that were known already; here `model_signing`'s own command reads every file again,
and a few lines that know nothing of Clapas compare SHA256SUMS. The copy holds the same weights by hard links where the
file system has them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas.recipe.files import partial_of
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.keys import fingerprint
from clapas.release.layout import PUBLIC_KEY, REVISIONS, SIGNATURE, SUMS
from clapas.release.signature import is_keyless

COMPARE = """
import hashlib, pathlib, sys
folder = pathlib.Path(sys.argv[1])
there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
said = {line.split("  ", 1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
for name in sorted(there - said - {"SHA256SUMS", "model.sig"}):
    print(name, "is not in SHA256SUMS")
for line in (folder / "SHA256SUMS").read_text().splitlines():
    digest, name = line.split("  ", 1)
    path = folder / name
    if not path.is_file():
        print(name, "is missing")
        continue
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            print(name, "is not what SHA256SUMS says")
"""
SMALL = 2**20
"""Bytes up to which a file is copied: a link would not show that a copy is whole."""


def check_signature(draft: Draft) -> Verdict:
    """Of the release and of each of its revisions."""
    if not (draft.folder / SIGNATURE).is_file():
        return not_run(f"there is no {SIGNATURE}")
    keyless = is_keyless(draft.folder / SIGNATURE)
    revisions = sorted(path.name for path in (draft.folder / REVISIONS).glob("*/"))
    folders = [draft.folder, *(draft.folder / REVISIONS / name for name in revisions)]
    problems = [problem for folder in folders for problem in _problems(folder, draft.folder, keyless)]
    problems += [problem for folder in folders for problem in _key(draft, folder)]
    if keyless:
        whose = "signed by an identity, verified against Sigstore when it was signed"
        return judged(problems, f"{SUMS} agrees with every file of a copy; {whose}")
    return judged(problems, f"{SUMS} and {SIGNATURE} agree with every file of a copy, read by others' tools")


def _key(draft: Draft, folder: Path) -> Iterator[str]:
    """The key that signed is the one that the release's documents name: any signature verifies with its own."""
    if draft.facts is None or draft.facts.key is None:
        return
    name = (folder / PUBLIC_KEY).relative_to(draft.folder)
    try:
        found = fingerprint(folder / PUBLIC_KEY)
    except UserError as error:
        yield f"{name}: {error.what}"
        return
    if found != draft.facts.key:
        yield f"{name} is the key {found}, and the documents name {draft.facts.key}"


def _problems(folder: Path, release: Path, keyless: bool) -> Iterator[str]:
    """keyless: who signed is known to Sigstore, online; the sums alone are compared here."""
    name = "" if folder == release else f"{folder.relative_to(release)}: "
    prefix = f"{partial_of(release.with_name('verify')).name}-"  # where we are killed, the next release clears it
    with tempfile.TemporaryDirectory(prefix=prefix, dir=release.parent) as place:
        copy = Path(place, "copy")
        ignore = shutil.ignore_patterns(REVISIONS) if folder == release else None
        shutil.copytree(folder, copy, symlinks=True, ignore=ignore, copy_function=_link_or_copy)
        verify = ["-m", "model_signing", "verify", "key", copy, "--signature", copy / SIGNATURE]
        started = [_python("-c", COMPARE, copy)]
        if not keyless:
            started.append(_python(*verify, "--public_key", copy / PUBLIC_KEY))
        for process in started:  # side by side
            output, errors = process.communicate()
            if process.returncode:
                yield f"{name}{(errors.strip().splitlines() or ['it ended without a word'])[-1]}"
            elif process is started[0]:
                yield from (f"{name}{line}" for line in output.splitlines())


def _python(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _link_or_copy(source: str, target: str) -> None:
    if Path(source).stat(follow_symlinks=False).st_size > SMALL:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError:  # another file system, or one without hard links
            pass
        else:
            return
    shutil.copy2(source, target, follow_symlinks=False)


CHECK = Check(23, "signature", "SHA256SUMS and the signature verify with the public key on a copy", check_signature)
