"""Keys that releases are signed with: pairs of an elliptic curve in PEM files, and the fingerprint that tells whose."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clapas.recipe.errors import UserError
from clapas_data.files import make_folder
from clapas_data.optional import needs

PASSPHRASE = "CLAPAS_KEY_PASSPHRASE"
"""The variable with the passphrase of a private key that has one."""


def generate_key(out: Path) -> str:
    """Write a new key pair (P-256) into the folder `out`: `key.pem`, that its owner alone can read, and `key.pub.pem`.

    With $CLAPAS_KEY_PASSPHRASE the private key is encrypted with it. Returns the key's fingerprint. Raises UserError
    where one of the files is there already, or a file where the folder would be.
    """
    with needs_model_signing():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    private, public = out / "key.pem", out / "key.pub.pem"
    for path in (private, public):
        if path.exists():
            raise UserError("a key is here already; it is never replaced", where=path, way_out="choose another --out")
    key = ec.generate_private_key(ec.SECP256R1())
    secret = passphrase()
    encryption = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    make_folder(out)
    _write_new(private, pem, 0o600)
    _write_new(public, public_pem(key), 0o644)
    return fingerprint(public)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        os.fsync(handle)


def load_private_key(path: Path) -> Any:
    """The key in a file. Raises UserError where there is none that can sign a model, or its passphrase is wrong."""
    with needs_model_signing():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

    if path.is_dir():
        raise UserError("a folder, no key", where=path, way_out=f"name the file in it: {path / 'key.pem'}")
    way_out = f"the private key, key.pem of `clapas keygen`; with a passphrase, its own in ${PASSPHRASE}"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase())
    except FileNotFoundError:
        raise UserError("no private key here", where=path, way_out="`clapas keygen --out FOLDER`") from None
    except OSError as error:
        raise UserError("cannot be read", where=path, found=error.strerror, way_out="its owner's `chmod 600`") from None
    except (ValueError, TypeError) as error:  # TypeError: a passphrase too many, or none where one is needed
        raise UserError("not a private key that opens", where=path, found=str(error), way_out=way_out) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UserError("not a key of an elliptic curve", where=path, wanted="P-256, P-384 or P-521", way_out=way_out)
    return key


def public_pem(private_key: Any) -> bytes:
    """The public half of a key, as PEM: what `model.pub` holds."""
    from cryptography.hazmat.primitives import serialization

    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private_key.public_key().public_bytes(serialization.Encoding.PEM, form)


def fingerprint(public_key: Path | bytes) -> str:
    """SHA-256 (hexadecimal) of a public key in its standard binary form (DER SubjectPublicKeyInfo): as `openssl pkey
    -pubin -outform DER | sha256sum` says. public_key: PEM, or its file. Raises UserError where it is none."""
    with needs_model_signing():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    where = public_key if isinstance(public_key, Path) else None
    try:
        key = serialization.load_pem_public_key(where.read_bytes() if where else public_key)  # type: ignore[arg-type]
    except FileNotFoundError:
        raise UserError("no public key here", where=where, way_out="the file that the provider publishes") from None
    except OSError as error:
        raise UserError(
            "cannot be read", where=where, found=error.strerror, wanted="a file with a public key"
        ) from None
    except ValueError:
        raise UserError("not a public key", where=where, wanted="PEM: -----BEGIN PUBLIC KEY-----") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UserError("not a key of an elliptic curve", where=where, wanted="P-256, P-384 or P-521")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def passphrase() -> bytes | None:
    """Of the private key, from the environment; None where it has none."""
    return os.environ.get(PASSPHRASE, "").encode() or None


@contextlib.contextmanager
def needs_model_signing() -> Iterator[None]:
    """Import `model_signing` or what it brings within the block. Raises UserError without it."""
    with (
        needs("OpenSSL", "a signature", "verify"),
        needs("cryptography", "a signature", "verify"),
        needs("model-signing", "a signature", "verify"),
    ):
        yield
