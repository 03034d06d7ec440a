"""The key of the surrogates: read from the environment or a file, never written; only its fingerprint is.

Who has the key and a document's id can tell which surrogate a guessed value gets, so it is kept like a password.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path

from clapas.recipe.errors import UserError

SHORTEST = 16
"""Bytes of a key: 128 bits where they are random."""
_ENV = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)$")


@lru_cache(maxsize=8)
def read_key(place: str) -> bytes:
    """The key at `env:NAME` or `file:PATH`, surrounding white space removed. Raises UserError where there is none."""
    match = _ENV.match(place)
    if match:
        value = os.environ.get(match[1], "").strip().encode()
        missing = f"the environment has no {match[1]}"
        way_out = f"make one once, and keep it: export {match[1]}=$(openssl rand -hex 32)"
    else:
        path = Path(place.removeprefix("file:"))
        way_out = f"make one once, and keep it: (umask 077; openssl rand -hex 32 > {path})"
        try:
            value = path.read_bytes().strip()
        except OSError as error:
            raise UserError(
                "the key of the surrogates cannot be read", where=path, found=error.strerror, way_out=way_out
            ) from None
        missing = f"{path} is empty"
    if not value:
        raise UserError("surrogates need a key", where="steps.personal.key", found=missing, way_out=way_out)
    if len(value) < SHORTEST:
        raise UserError(
            "the key of the surrogates is too short to be one",
            where="steps.personal.key",
            found=f"{len(value)} bytes",
            wanted=f"at least {SHORTEST}",
            way_out=way_out,
        )
    return value


@lru_cache(maxsize=8)
def fingerprint(key: bytes) -> str:
    """Sixteen hex digits that tell two keys apart; slow to compute on purpose (scrypt, 16 MiB), so as not to be guessed
    from."""
    return hashlib.scrypt(key, salt=b"clapas.personal.fingerprint", n=2**14, r=8, p=1, dklen=8).hex()
