"""NIR (the social security number) and INS (the health identity, which has a NIR's form).

A number of 15 whose shape and key are right is one wherever it stands. Without its key, or with a wrong one (a slip of
the pen, OCR), only where the text says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.checksums import nir_key
from clapas_data.personal.finding import GAP, Finding, is_asked_for

_CANDIDATE = re.compile(
    rf"[1-478](?<![\w]\d){GAP}\d{GAP}\d{GAP}[0-9O]{GAP}[0-9O]"  # sex, year, month
    rf"{GAP}\d{GAP}[\dABab](?:{GAP}[0-9O]){{6}}"  # department, town, order
    rf"(?:{GAP}(?:\(?(?:cl[ée]|key)?{GAP}:?{GAP})?(?P<key>[0-9O]{GAP}\d)(?![\w]))?"
)
_SAYS_NIR = re.compile(
    r"\bNIR\b|\bNIA\b|\bINSEE\b|s[ée]cu(?:rit[ée]|\b)|s[ée]c\.?\s?soc|\bSS\b|\bS\.S\.|\bNSS\b|immatricul"
    r"|num[ée]ro national|assur[ée]",
    re.IGNORECASE,
)
_SAYS_INS = re.compile(
    r"\bINS\b|\bINS-?(?:NIR|NIA|C)\b|identit[ée] nationale de sant[ée]|identifiant national de sant[ée]", re.IGNORECASE
)
_OID = re.compile(r"1\.2\.250\.1\.213\.1\.4\.\d+")
"""Roots of the INS's OIDs (ANS, référentiel INS): .8 NIR, .9 NIA, .10 and .11 tests."""
_OTHER_THINGS = re.compile(
    r"\b(?:SIRET|SIREN|IMEI|EAN|GTIN|colis|suivi|facture|commande|compteur|PDL|PRM)\b", re.IGNORECASE
)
_MONTHS = frozenset({*range(1, 13), 20, *range(30, 43), *range(50, 100)})
"""1 to 12; 20, 30 to 42 and 50 to 99 where the civil status does not know it (INSEE)."""


def find_nir(text: str) -> Iterator[Finding]:
    """NIR and INS in a text, key included."""
    for match in _CANDIDATE.finditer(text):
        start, stop = match.span()
        letters = "".join(filter(str.isalnum, match[0][: match.start("key") - start] if match["key"] else match[0]))
        letters = re.sub("(?i)cl[ée]|key", "", letters).upper().replace("O", "0")
        if not _has_shape(letters):
            continue
        key = "".join(filter(str.isalnum, match["key"] or "")).replace("O", "0")
        is_right = bool(key) and int(key) == nir_key(letters)
        if not is_right:
            if text[stop : stop + 1].isalnum() or not (
                is_asked_for(_SAYS_NIR, text, start, 60) or is_asked_for(_SAYS_INS, text, start, 60)
            ):
                continue
        elif is_asked_for(_OTHER_THINGS, text, start, 25):
            continue
        is_ins = is_asked_for(_SAYS_INS, text, start, 60) or _OID.search(text, stop, stop + 60)
        yield Finding("ins" if is_ins else "nir", start, stop)


def _has_shape(body: str) -> bool:
    """Whether 13 characters can be a NIR: month and department are possible."""
    department = body[5:7]
    if not (body[:5].isdigit() and body[7:].isdigit() and int(body[3:5]) in _MONTHS):
        return False
    return department in ("2A", "2B") or (department.isdigit() and department != "00")
