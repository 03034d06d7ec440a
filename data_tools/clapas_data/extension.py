"""What an extended tokenizer says of its base: which one it was, and of which of its ids each new token consists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from clapas.recipe.errors import UserError

EXTENSION = "extension.json"


@dataclass(frozen=True, slots=True)
class Extension:
    """base_hash: of the base's `tokenizer.json`. base_size: its ids, which are the first of the extended one's.

    pieces: of each new id, in order, the base's ids that its text is made of.
    """

    base_hash: str
    base_size: int
    pieces: list[list[int]]


def read_extension(tokenizer: Path) -> Extension | None:
    """What a tokenizer's folder says; None where it is no extended one (`clapas tokenizer extend`)."""
    path = tokenizer / EXTENSION
    if not path.is_file():
        return None
    try:
        facts = orjson.loads(path.read_bytes())
        found = Extension(str(facts["base"]["hash"]), int(facts["base"]["vocab_size"]), facts["pieces"])
        if any(not 0 <= piece < found.base_size for pieces in found.pieces for piece in pieces):
            raise ValueError("a piece that the base does not have")
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        wanted = "what `clapas tokenizer extend` wrote"
        raise UserError(f"not an extension: {error}", where=path, wanted=wanted) from None
    return found
