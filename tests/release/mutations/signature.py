"""What check 23 finds in a sealed release: it is changed after it was signed, or signed by somebody else."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.release.mutations.mutant import Case, Mutant

from clapas.release.keys import generate_key, load_private_key, public_pem
from clapas.release.layout import PUBLIC_KEY, SIGNATURE, SUMS
from clapas.release.signature import LocalKey, seal, sign, signed_files
from clapas.release.sums import Digests

Break = Callable[[Case], None]


def _add_space(case: Case) -> None:
    with (case.folder / "release.json").open("a") as file:
        file.write(" ")


def _sums(change: Callable[[str], str]) -> Break:
    def write(case: Case) -> None:
        (case.folder / SUMS).write_text(change((case.folder / SUMS).read_text()))

    return write


def _bundle(change: Callable[[dict[str, Any]], object]) -> Break:
    def write(case: Case) -> None:
        bundle = json.loads((case.folder / SIGNATURE).read_bytes())
        change(bundle)
        (case.folder / SIGNATURE).write_text(json.dumps(bundle))

    return write


def _other_statement(bundle: dict[str, Any]) -> None:
    envelope = bundle["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"]["resources"].pop()
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()


def _by_another(case: Case) -> None:
    """Signed again by somebody who has not the key that is published."""
    with tempfile.TemporaryDirectory() as place:
        generate_key(Path(place))
        digests = Digests().of(case.folder, signed_files(case.folder))
        sign(case.folder, digests, LocalKey(Path(place, "key.pem")), "the same name")


def _by_another_all(case: Case) -> None:
    """The same, and the other's key is put beside it: the folder agrees with itself."""
    with tempfile.TemporaryDirectory() as place:
        generate_key(Path(place))
        seal(case.folder, Digests(), LocalKey(Path(place, "key.pem")), "the same name")


def _other_public_key(case: Case) -> None:
    with tempfile.TemporaryDirectory() as place:
        generate_key(Path(place))
        (case.folder / PUBLIC_KEY).write_bytes(public_pem(load_private_key(Path(place, "key.pem"))))


def _swap_digests(sums: str) -> str:
    first, second, *rest = sums.splitlines()
    return "\n".join([second[:64] + first[64:], first[:64] + second[64:], *rest, ""])


SEALED_MUTANTS = [
    Mutant("a digest of SHA256SUMS changed", 23, _sums(lambda text: ("1" if text[0] != "1" else "2") + text[1:])),
    Mutant("two digests of SHA256SUMS swapped", 23, _sums(_swap_digests)),
    Mutant("a file that SHA256SUMS leaves out", 23, _sums(lambda text: text.split("\n", 1)[1])),
    Mutant("results of the gate written after the signature", 23, _add_space),
    Mutant("signed again by another key", 23, _by_another),
    Mutant("signed again by another key, which is put beside it", 23, _by_another_all),
    Mutant("another public key beside it", 23, _other_public_key),
    Mutant("a signature of another release", 23, _bundle(_other_statement)),
    Mutant("a signature without content", 23, lambda case: (case.folder / SIGNATURE).write_text("{}")),
    Mutant("a file signed and gone", 23, lambda case: (case.folder / "release.json").unlink()),
]
