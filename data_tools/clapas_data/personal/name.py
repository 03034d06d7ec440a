"""Where a name ends: given names, initials, particles, double names, in any of the cases that French letters use."""

from __future__ import annotations

import re

from clapas_data.personal.words import ENDS, FUNCTIONS

UPPER = "A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĖĘĚĞĢĪĮİĶŁĻĹĽŃŅŇŐŒŔŘŚŞŠŢŤŪŮŰŲŸŹŻŽ"
LINK = re.compile(rf"(?:, | et |, et |,)(?=[{UPPER}])")
"""Between the names of a list."""
_TOKEN = re.compile(
    rf"(?P<initial>(?:[{UPPER}]h?\.[ \u00a0]?[-‐‑]?){{1,4}}(?=[{UPPER}]))"
    rf"|(?:[dDlLO]['’])?[{UPPER}][^\W\d_]*(?:['’‐‑\-][^\W\d_]+)*(?!\w)"
)
_PARTICLE = re.compile(
    r"(?:(?:[dD][eu]|des|[dD]e [lL]a|l[ea]|van|von|der|den|di|da|dos|del|della|el|al|ben|bin|ould|bint|ter|DE|DU|DES"
    r"|DE LA|VAN|VON|BEN|EL|DER)[ \u00a0]|[dD]e [lL]['’]|[dD]['’]){1,3}"
    rf"(?=[{UPPER}])"
)
_SPACE = re.compile(r"[ \u00a0\u202f]{1,2}")
_CAPITAL_ARTICLE = re.compile(rf"[ \u00a0](?=[{UPPER}])")
WRAPPED = 50
"""Characters from which a line counts as wrapped by its writer: a name may go on in the next one."""
_MOST = 6
"""Words of a name."""


def name_end(text: str, start: int) -> int:
    """Where the name that starts at `start` ends; `start` where there is none."""
    place = stop = start
    for _ in range(_MOST):
        particle = _PARTICLE.match(text, place)
        token = _TOKEN.match(text, particle.end() if particle else place)
        if token is None:
            break
        if token["initial"]:
            place = token.end()
            continue
        word = token[0].lower()
        if word in ("le", "la", "les") and (gap := _CAPITAL_ARTICLE.match(text, token.end())):
            place = gap.end()  # "M. Le Goff" is a name, "M. Le Préfet" is not
            continue
        if word in ENDS or word in FUNCTIONS or len(set(word)) == 1:  # "M. X...", "Mme B", "M. XX": already anonymous
            break
        stop = token.end()
        gap = _SPACE.match(text, stop)
        if gap is None and not _goes_on(text, stop):
            break
        place = gap.end() if gap else stop + 1
    return stop


def _goes_on(text: str, place: int) -> bool:
    """Whether a line's end at `place` wrapped a name: the line is long, and a word in capitals begins the next."""
    if text[place : place + 1] != "\n" or place - (text.rfind("\n", 0, place) + 1) < WRAPPED:
        return False
    return re.match(rf"[{UPPER}]{{2}}", text[place + 1 : place + 3]) is not None
