"""The signature of a release: who made it, in the OpenSSF's format for models (`model-signing`), as `model.sig`.

The library hashes a whole folder on its own. It is handed the digests that are known already, so that weights are read
once; what it writes is what its own command writes, and each verifies the other's. The signature covers every file but
itself, SHA256SUMS and the public key among them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from clapas.recipe.errors import ClapasError
from clapas.release.keys import fingerprint, load_private_key, needs_model_signing, passphrase, public_pem
from clapas.release.layout import PUBLIC_KEY, REVISIONS, SIGNATURE
from clapas.release.sums import OF_CLIENTS, Digests, NotSoundError, release_files, write_sums


@dataclass(frozen=True, slots=True)
class LocalKey:
    """A private key in a file (PEM, elliptic curve P-256, P-384 or P-521)."""

    path: Path


@dataclass(frozen=True, slots=True)
class Keyless:
    """Nobody's key: Sigstore certifies for ten minutes that who signs has logged in as `identity` (an address of mail,
    or a workflow's URL) at `provider` (the URL of an OpenID Connect issuer), and a public log keeps that."""

    identity: str
    provider: str


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key in a file (PEM)."""

    path: Path


def seal(folder: Path, digests: Digests, by: LocalKey | Keyless, name: str) -> None:
    """The last that is done to a release: its public key, sums over every file, and the signature over all of it.

    name: of the model, which is signed with it. Raises as `sign`.
    """
    if isinstance(by, LocalKey):
        (folder / PUBLIC_KEY).write_bytes(public_pem(load_private_key(by.path)))
    write_sums(folder, digests)
    sign(folder, digests.of(folder, signed_files(folder)), by, name)


def signed_by(by: LocalKey | Keyless) -> str | None:
    """The fingerprint of the key that signs; None where an identity does. Raises as `load_private_key`."""
    return fingerprint(public_pem(load_private_key(by.path))) if isinstance(by, LocalKey) else None


def signed_files(folder: Path) -> list[str]:
    """The names of all files that the signature covers. Raises as `release_files`."""
    return [name for name in release_files(folder) if name != SIGNATURE]


def sign(folder: Path, digests: Mapping[str, str], by: LocalKey | Keyless, name: str) -> None:
    """Write model.sig. digests: of every file that it covers. name: of the model: no folder's name is signed.

    Raises UserError for what is no private key of ours or a wrong passphrase; ClapasError where keyless signing does
    not reach Sigstore.
    """
    with needs_model_signing():
        from model_signing import signing

    if isinstance(by, LocalKey):
        load_private_key(by.path)  # whose message tells more
        password: Any = passphrase()  # declared as text; what it is passed on to takes bytes alone
        signer = signing.Config().use_elliptic_key_signer(private_key=by.path, password=password)
        signer.set_hashing_config(_known(digests, name)).sign(folder, folder / SIGNATURE)
        return
    with _reaching_sigstore("signed"):
        signer = signing.Config().use_sigstore_signer(use_ambient_credentials=True)
        signer.set_hashing_config(_known(digests, name)).sign(folder, folder / SIGNATURE)
    check_signature(folder, digests, by)  # somebody else may have logged in


def check_signature(folder: Path, digests: Mapping[str, str], by: PublicKey | Keyless) -> None:
    """Raise NotSoundError where model.sig was not made by this key or identity, or not over files of these digests."""
    with needs_model_signing():
        from cryptography.exceptions import InvalidSignature
        from model_signing import verifying

    if isinstance(by, PublicKey):
        fingerprint(by.path)  # whose message tells more
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=by.path)
    else:
        with _reaching_sigstore("verified"):
            verifier = verifying.Config().use_sigstore_verifier(identity=by.identity, oidc_issuer=by.provider)
    verifier.set_hashing_config(_known(digests, folder.name))
    path = folder / SIGNATURE
    if isinstance(by, PublicKey) and is_keyless(path):
        way_out = "verify with --identity and --identity-provider"
        raise NotSoundError("signed without a key, by an identity", where=path, way_out=way_out)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # warnings of the library's
            verifier.verify(folder, path)
    except InvalidSignature:
        raise NotSoundError("the signature is not by this key", where=path) from None
    except Exception as error:  # of json, pydantic, sigstore and the library: whatever a broken file makes of them
        raise NotSoundError(_what_is_wrong(str(error)), where=path) from None


def _what_is_wrong(said: str) -> str:
    if said.startswith("Key mismatch"):
        return "the signature is by another key"
    if said.startswith("Signature mismatch"):
        return f"the signature is of other files: {said.removeprefix('Signature mismatch: ')}"
    return f"the signature does not verify: {said.splitlines()[0] if said else 'it is not a signature'}"


def is_keyless(signature: Path) -> bool:
    """Whether a model.sig is by an identity of Sigstore's: it then holds a certificate. Unreadable ones are not."""
    try:
        return "certificate" in orjson.loads(signature.read_bytes())["verificationMaterial"]
    except (ValueError, KeyError, TypeError):
        return False


def _known(digests: Mapping[str, str], name: str) -> Any:
    """What `model_signing` hashes folders with, with these digests instead of reading files."""
    from model_signing import hashing, manifest
    from model_signing._hashing.hashing import Digest

    class Known(hashing.Config):
        def hash(self, model_path: object, *, files_to_hash: object = None) -> manifest.Manifest:
            """The manifest of the known digests."""
            facts = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
            form = manifest.SerializationType.from_args({**facts, "ignore_paths": [SIGNATURE, REVISIONS, *OF_CLIENTS]})
            items = [form.new_item(file, Digest("sha256", bytes.fromhex(hex_))) for file, hex_ in digests.items()]
            return manifest.Manifest(name, items, form)

    return Known()


@contextlib.contextmanager
def _reaching_sigstore(done: str) -> Iterator[None]:
    """Sigstore's own errors are many, and offline those of its HTTP clients: each becomes one that says so."""
    try:
        yield
    except ClapasError:
        raise
    except Exception as error:
        raise ClapasError(
            f"not {done} without a key: Sigstore's services were not reached, or refused",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            way_out="this needs the network and a browser or a workflow's token; a local key needs neither: --key",
        ) from None
