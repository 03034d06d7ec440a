"""What of a run may be told: no path and no host of the machines that it ran on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from clapas.recipe.secrets import hide

ABSOLUTE = re.compile(r"(?<![\w:/.])/(?:[\w.@+~-]+/)+")
"""The folders of an absolute path; not those of an address."""


def public(value: Any) -> Any:
    """A value of a recipe, a record or a manifest: paths as the name at their end, texts without folders or secrets."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str):
        return hide(ABSOLUTE.sub("", value))
    if isinstance(value, dict):
        return {str(public(key)): public(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    return value
