"""What a rank makes of the end of another."""

from __future__ import annotations

import re
from pathlib import Path

from clapas.recipe.errors import ClapasError

PEER_GONE = re.compile(r"[Cc]onnection (closed|reset) by peer|Broken pipe")
"""What gloo says to a rank whose peer is gone."""


def is_peer_gone(error: RuntimeError) -> bool:
    """Whether a collective failed because another rank is no more."""
    return bool(PEER_GONE.search(str(error)))


def peer_gone(run: Path) -> ClapasError:
    """What to say of it."""
    return ClapasError("another rank has ended; its own message says why", where=run)
