"""What stands where an answer should be and is none: blanks, and words that people leave to fill in later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

PLACEHOLDER = re.compile(
    r"\b(?:TODO|TBD|FIXME|XXX+|lorem ipsum|à (?:compléter|remplir|définir|renseigner))\b"
    r"|\bto be (?:completed|defined|filled)\b|\.\.\.$|…$",
    re.I,
)
"""What stands where an answer should be."""
NOTHING = re.compile(r"[\W_]+|n/?a", re.I)
"""A whole answer that is none: `?`, `-`, `N/A`."""


def blanks(section: BaseModel | Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, what stands there) of every text that is blank or a placeholder."""
    if isinstance(section, str):
        if not section.strip():
            yield key, "blank"
        elif PLACEHOLDER.search(section) or NOTHING.fullmatch(section.strip()):
            yield key, repr(section if len(section) < 60 else section[:57] + "…")
        return
    if isinstance(section, BaseModel):
        items: Any = ((name, getattr(section, name)) for name in type(section).model_fields)
    elif isinstance(section, dict):
        items = section.items()
    elif isinstance(section, list | tuple):
        items = enumerate(section)
    else:
        return
    for name, value in items:
        yield from blanks(value, f"{key}.{name}" if key else str(name))
