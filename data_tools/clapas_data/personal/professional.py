"""Numbers of health professionals, RPPS and ADELI, where the text says what they are.

RPPS: 11 digits; ADELI: 9 characters, the department first (Agence du numérique en santé).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.finding import GAP, Finding

_LABEL = re.compile(r"(?:R\.?P\.?P\.?S|[Rr]pps|A\.?D\.?E\.?L\.?I|[Aa]d[ée]li)(?!\w)\.?")
_BEFORE = re.compile(rf"(?<!\w)(?P<number>\d(?:{GAP}\d){{10}})\s?[(\[]\s?(?:[nN]°\s?)?$")
_NUMBER = re.compile(
    rf"[^\d\n]{{0,25}}?(?:\n\s{{0,4}})?(?P<number>\d(?:{GAP}\d){{10}}(?!\w)|\d{GAP}[\dABab](?:{GAP}\d){{7}}(?!\w))"
)


def find_rpps(text: str) -> Iterator[Finding]:
    """RPPS and ADELI numbers in a text."""
    for label in _LABEL.finditer(text):
        match = _BEFORE.search(text, max(0, label.start() - 40), label.start()) or _NUMBER.match(text, label.end())
        if match:
            yield Finding("rpps", *match.span("number"))
