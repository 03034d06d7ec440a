"""Where fetched packages and prepared text are kept.

`CLAPAS_CACHE`, else `$XDG_CACHE_HOME/clapas`, else `~/.cache/clapas`. All of it can be
made again: deleting the folder costs time only.
"""

from __future__ import annotations

import os
from pathlib import Path

from clapas.recipe.errors import UserError


def cache_folder(*parts: str) -> Path:
    """A folder of the cache, made where missing. Raises UserError where it cannot be made."""
    base = os.environ.get("CLAPAS_CACHE")
    root = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clapas"
    folder = root.expanduser().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        way_out = "export CLAPAS_CACHE=/a/folder/of/yours"
        raise UserError(f"no cache folder: {error.strerror}", where=folder, way_out=way_out) from None
    return folder
