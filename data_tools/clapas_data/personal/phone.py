"""Telephone numbers: French ones in every written form, foreign ones with their +.

Sources: ARCEP's numbering plan (décision 2018-0881): 01-05 by region, 06 and 07 mobile, 09 over the Internet; overseas
0262, 0263, 0269 (La Réunion, Mayotte), 0590, 0594, 0596 and their mobile 06xx inside the national plan, with +262,
+590, +594, +596 from abroad; +508, +681, +687, +689 have plans of their own. 08 and short numbers belong to services,
not to persons.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from clapas_data.personal.finding import GAP, LONG_NUMBER, Finding, digits_of, is_asked_for

_FRENCH = re.compile(rf"[0O](?<![\w+]\w)(?<!\d[.\-]\w)(?!\.\d{{3,}}){GAP}[1-79](?:{GAP}[\dOIl]){{8}}(?![\w])")
_CODES = r"(?P<country>33|262|590|594|596|508|681|687|689)"
_REST = rf"\s?\)?{GAP}(?:\(\s?0\s?\){GAP}|0{GAP}(?=[1-79]))?[1-9](?:{GAP}\d){{5,8}}(?!\w)"
_PLUS = re.compile(rf"\+{GAP}{_CODES}{_REST}")
_ZEROS = re.compile(rf"0(?<!\w\w)0\s?{GAP}{_CODES}{_REST}")
_FOREIGN = re.compile(r"\+(?<!\w\+)[1-9]\d{0,2}(?:[ .\-\u00a0\u202f]?\(?\d{1,4}\)?){2,6}(?!\w)")
_NAMED = re.compile(
    r"(?:\b(?:[tT][ée]l(?:[ée]phone)?|T[ÉE]L(?:[ÉE]PHONE)?|[pP]ortable|PORTABLE|[mM]obile|GSM|[fF]ax|FAX"
    r"|[tT])\b(?!\s+[àa]\s)|[☎📞📱])"
    rf"(?P<between>(?:[^\d\n+(]|\((?!\+?\d)){{0,20}})(?P<number>\(?\+?\d(?:[()]{{0,2}}{GAP}\d){{5,12}})(?!\w)"
)
_LABEL_REACH = 40
_OTHER_THINGS = re.compile(
    r"\b(?:SIRE[NT]|RCS|BCE|LEI|S/N|FINESS|RPPS|ADELI|IPP|NIP|IEP|NDA|NIR|INS|ISBN|ISSN|EAN|GTIN|DOI|PMID|PMCID|CAS|IMEI|TVA|IBAN"
    r"|BIC|RIB|AMM|CIP|UCD|LPP"
    r"|NOR|JORF|CELEX|RNA|EORI|NAF|APE|lots?|r[ée]f(?:[ée]rence)?s?|colis|suivi|factures?|commande|compteur|s[ée]rie"
    r"|cadastr\w+|version|nomenclature|tarifaires?"
    r"|combin[ée]e|douani[èe]re?s?|ticket)\b[^\d]{0,20}$",
    re.IGNORECASE,
)
"""What a row of digits is the number of, where it is no telephone's."""
_PERHAPS_OTHER_THINGS = re.compile(
    r"\b(?:n°|num[ée]ro|identifiant|code|id)\s?(?:d[eu]\s|d['’])?(?:dossier|contrat|client|adh[ée]rent|allocataire"
    r"|fiscal|article|patient|s[ée]jour|police|licence|agr[ée]ment)"
    r"|\b(?:dossier|contrat|identifiant|fiscal|article|matricule|police|licence|agr[ée]ment|s[ée]jour)\b[^\d]{0,20}$",
    re.IGNORECASE,
)
"""The same where the digits are not written in pairs."""
_SAYS_PHONE = re.compile(
    r"t[ée]l|phone|portable|mobile|\bGSM\b|\bfax\b|joindre|joignable|appel|contact|num[ée]ro\b", re.IGNORECASE
)
_NATIONAL_LENGTHS = {"508": (6, 9), "681": (6,), "687": (6,), "689": (6, 8)}
_GROUPS = re.compile(r"[\dOIl]+")
_FRENCH_SHAPES = frozenset(
    {
        (10,),
        (2, 2, 2, 2, 2),
        (4, 2, 2, 2),
        (2, 8),
        (1, 3, 3, 3),
        (2, 4, 4),
        (4, 6),
        (4, 3, 3),
        (3, 3, 4),
        (3, 3, 2, 2),
        (2, 2, 6),
        (1, 1, 2, 2, 2, 2),
        (2, 3, 3, 2),
        (1, 9),
        (4, 2, 4),
        (2, 2, 3, 3),
        (2, 2, 2, 4),
        (1, 2, 2, 2, 2, 1),
        (1,) * 10,
    }
)
"""How people group ten digits; a date with an hour (2, 2, 4, 2) is none of them."""
_OVERSEAS = re.compile(r"0(?:262|263|269|590|594|596|508|639|69[0-7]|976)")
_RARE_SHAPES = frozenset({(4, 3, 3), (3, 3, 4), (4, 6), (1, 9), (4, 2, 4), (2, 2, 3, 3), (2, 2, 2, 4)})
"""Those that other numbers have as well: they count where the text speaks of a telephone."""
_PAIRS = (2, 2, 2, 2, 2)
_BETWEEN = re.compile(r"[^\dOIl]+")
_ROW_BEFORE = re.compile(r"(\d+)[ \u00a0\u202f]$")


def find_phone(text: str) -> Iterator[Finding]:
    """Telephone numbers of persons in a text."""
    for match in _FRENCH.finditer(text):
        if _is_french(text, match):
            yield Finding("phone", *match.span())
    yield from _from_abroad(text)


def find_named_phone(text: str) -> Iterator[Finding]:
    """Numbers that the text calls telephone numbers, in any grouping: six digits (New Caledonia) and more."""
    done = 0
    for run in LONG_NUMBER.finditer(text):
        for match in _NAMED.finditer(text, max(done, run.start() - _LABEL_REACH), run.end()):
            done = match.end()
            digits = digits_of(match["number"])
            if _is_a_persons(digits, match["number"]) and not _OTHER_THINGS.search(match["between"]):
                yield Finding("phone", *match.span("number"))


def _is_french(text: str, match: re.Match[str]) -> bool:
    """Whether ten digits are grouped as a number is, and nothing around them says that they are something else."""
    start, stop = match.span()
    groups = _GROUPS.findall(match[0])
    if tuple(map(len, groups)) not in _FRENCH_SHAPES or sum(map(str.isdigit, match[0])) < 7:
        return False
    separator = text[stop : stop + 1]
    if separator and separator in " .-\u00a0\u202f" and len(groups) > 1:
        after = re.match(r"\d+", text[stop + 1 : stop + 7])
        if after and len(after[0]) in (2, 3):  # a longer row of groups: an identifier, a table
            return False
    shape = tuple(map(len, groups))
    before = _ROW_BEFORE.search(text, max(0, start - 6), start)
    is_usual = shape == _PAIRS or (shape == (4, 2, 2, 2) and _OVERSEAS.match(match[0]))
    if before and not (
        is_usual and (len(before[1]) > 3 or shape != _PAIRS)
    ):  # the end of a longer row; but a post code may stand before
        return False
    if not is_usual and not _is_even(match[0]):
        return False
    if shape in _RARE_SHAPES and not is_asked_for(_SAYS_PHONE, text, start):
        return False
    if is_row_of_ones(groups) and not is_asked_for(_SAYS_PHONE, text, start):
        return False
    if shape == (4, 2, 2, 2) and not _OVERSEAS.match(match[0]) and not is_asked_for(_SAYS_PHONE, text, start):
        return False
    others = (_OTHER_THINGS,) if shape == _PAIRS else (_OTHER_THINGS, _PERHAPS_OTHER_THINGS)
    if any(other.search(text, max(0, start - 50), start) for other in others):
        return is_asked_for(_SAYS_PHONE, text, start, 20)
    return True


def _is_even(number: str) -> bool:
    """Whether groups other than pairs have the same sign between them all, on one line; a slash is a date's or a
    path's."""
    separators = {separator.strip(" \u00a0\u202f\t") for separator in _BETWEEN.findall(number)}
    return len(separators) <= 1 and not separators & {"/", "\n"}


def is_row_of_ones(groups: list[str]) -> bool:
    """Whether the groups count up by one (01 02 03 04 05): a list of codes, not a number."""
    numbers = [int(group) for group in groups if group.isdigit()]
    return len(numbers) > 2 and all(later - one == 1 for one, later in pairwise(numbers))


def _from_abroad(text: str) -> Iterator[Finding]:
    """Numbers with a country's code."""
    for match in (*_PLUS.finditer(text), *_ZEROS.finditer(text)):
        country = match["country"]
        national = digits_of(match[0][match.end("country") - match.start() :])
        number = national.lstrip("0")
        if len(number) in _NATIONAL_LENGTHS.get(country, (9,)) and not (country == "33" and number[0] == "8"):
            is_open = text[max(0, match.start() - 1) : match.start()] == "(" and ")" in match[0].split("(")[0]
            yield Finding("phone", match.start() - is_open, match.end())
    for match in _FOREIGN.finditer(text):
        digits = "".join(filter(str.isdigit, match[0]))
        if 8 <= len(digits) <= 15 and not digits.startswith("338"):
            yield Finding("phone", *match.span())


def _is_a_persons(digits: str, number: str) -> bool:
    """Whether a number that the text calls a telephone number may be a person's: not 08, not short."""
    if digits.startswith(("08", "338", "00338")):
        return False
    if len(digits) < 8:  # as written in New Caledonia: 25.67.89
        return tuple(map(len, _GROUPS.findall(number))) == (2, 2, 2)
    return len(digits) <= 15
