"""Where fetched packages and prepared text are kept.

`CLAPAS_CACHE`, else `$XDG_CACHE_HOME/clapas`, else `~/.cache/clapas`. All of it can be
made again: deleting the folder costs time only.
"""

from __future__ import annotations

import os
from pathlib import Path

from clapas_data.files import make_folder


def cache_folder(*parts: str) -> Path:
    """A folder of the cache, made where missing. Raises UserError where it cannot be made."""
    base = os.environ.get("CLAPAS_CACHE")
    root = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clapas"
    folder = root.expanduser().joinpath(*parts)
    make_folder(folder, way_out="export CLAPAS_CACHE=/a/folder/of/yours")
    return folder
