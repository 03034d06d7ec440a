"""IBANs and bank cards: only numbers whose checks are right."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.checksums import IBAN_LENGTHS, passes_iban, passes_luhn
from clapas_data.personal.finding import GAP, Finding

_IBAN = re.compile(
    rf"(?:[A-Z](?<!\w\w){GAP}[A-Z]|fr(?<!\w\w\w)|Fr(?<!\w\w\w)){GAP}\d{GAP}\d(?:{GAP}[A-Za-z\d]){{11,30}}"
)
_CARD = re.compile(rf"[2-6](?<![\w+]\d)(?<!\d[.,\-/]\d)(?:{GAP}\d){{12,18}}(?![\w])")
_OTHER_THINGS = re.compile(
    r"\b(?:SIRE[NT]|RCS|IMEI|ISBN|EAN|GTIN|colis|suivi|lot|commande|facture|s[ée]rie|PDL|PRM|compteur|DOI"
    r"|r[ée]f(?:[ée]rence)?)\b[^\d]{0,20}$",
    re.IGNORECASE,
)
_SAYS_CARD = re.compile(r"carte|\bCB\b|visa|mastercard|amex|diners", re.IGNORECASE)
_FEWEST = 13
_GROUPS = re.compile(r"\d+")


def find_iban(text: str) -> Iterator[Finding]:
    """IBANs in a text, of any country."""
    place = 0
    while match := _IBAN.search(text, place):
        stop = _iban_end(text, match)
        place = stop or match.start() + 2
        if stop:
            yield Finding("iban", match.start(), stop)


def _iban_end(text: str, match: re.Match[str]) -> int:
    """Where the IBAN ends that begins a match; 0 where its check fails."""
    places = [place for place in range(match.start(), match.end()) if text[place].isalnum()]
    wanted = IBAN_LENGTHS.get((text[places[0]] + text[places[1]]).upper(), len(places) + 1)
    if len(places) < wanted:
        return 0
    stop = places[wanted - 1] + 1
    iban = "".join(text[place] for place in places[:wanted]).upper()
    return stop if passes_iban(iban) and not text[stop : stop + 1].isalnum() else 0


def find_card(text: str) -> Iterator[Finding]:
    """Bank card numbers in a text."""
    for match in _CARD.finditer(text):
        stop = _card_end(text, match)
        if stop and not _OTHER_THINGS.search(text, max(0, match.start() - 40), match.start()):
            yield Finding("card", match.start(), stop)


def _card_end(text: str, match: re.Match[str]) -> int:
    """Where the card's number ends, at the end of one of its groups; 0 where no length passes."""
    is_called = _SAYS_CARD.search(text, max(0, match.start() - 40), match.start()) is not None
    groups = list(_GROUPS.finditer(text, match.start(), match.end()))
    for count in range(len(groups), 0, -1):
        digits = "".join(group[0] for group in groups[:count])
        if len(digits) < _FEWEST:
            break
        shortest = min((len(group[0]) for group in groups[: count - 1]), default=4)
        if (
            (shortest > 2 or is_called)
            and _has_prefix(digits, is_called)
            and len(set(digits)) > 2
            and passes_luhn(digits)
        ):
            return groups[count - 1].end()
    return 0


def _has_prefix(digits: str, is_called: bool) -> bool:
    """Whether prefix and length are those of a scheme that issues cards (ISO/IEC 7812 ranges)."""
    first2, first4 = int(digits[:2]), int(digits[:4])
    return {
        13: first2 // 10 == 4,
        14: is_called and (first2 in (36, 38) or 300 <= int(digits[:3]) <= 305),  # a SIRET has 14 digits too
        15: first2 in (34, 37),
        16: first2 // 10 == 4
        or 51 <= first2 <= 55
        or 2221 <= first4 <= 2720
        or 3528 <= first4 <= 3589
        or first2 in (50, 56, 57, 58, 62, 64, 65, 67)
        or first4 in (6011, 6304),
        19: first2 // 10 == 4 or first2 in (50, 56, 57, 58, 67) or first4 == 6304,
    }.get(len(digits), False)
