"""The licences that weights may have, and the text that a release ships with them.

Open in the sense of article 53(2) of the AI Act: anybody may use, change and pass on what is under them, for any
purpose. The texts are SPDX's, word for word (docs/licences.md).
"""

from __future__ import annotations

import re
from pathlib import Path

from clapas.recipe.errors import UserError

FOLDER = Path(__file__).parent
WEIGHTS = tuple(sorted(path.stem for path in FOLDER.glob("*.txt")))
"""The SPDX identifiers of the licences whose text ships."""
_COPYRIGHT = re.compile(r"^Copyright \(c\) <year> <[a-z ]+>\.?$", re.M)
"""The line that MIT and BSD leave to be filled in."""


def check_weights_licence(licence: str, where: str) -> None:
    """Raise UserError where weights may not have this licence."""
    if licence not in WEIGHTS:
        raise UserError(
            "not a licence that weights are released under here",
            where=where,
            found=licence,
            wanted=f"one of {', '.join(WEIGHTS)}, written as SPDX writes it",
            way_out="docs/licences.md says why these",
        )


def licence_text(licence: str, notice: str) -> str:
    """A licence's text. notice: the copyright notice that stands where the text leaves a line for it.

    Raises KeyError for a licence that is not on the list.
    """
    if licence not in WEIGHTS:
        raise KeyError(licence)
    text = (FOLDER / f"{licence}.txt").read_text(encoding="utf-8")
    return _COPYRIGHT.sub(lambda _: notice, text)
