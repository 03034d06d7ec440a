"""The checks that numbers carry: NIR's key, Luhn's, IBAN's.

Sources: NIR: arrêté du 20 mai 1946 and INSEE's documentation (key = 97 - number mod 97, 2A as 19, 2B as 18). Luhn:
ISO/IEC 7812-1, annex B. IBAN: ISO 13616 (mod 97-10 of ISO/IEC 7064) and SWIFT's IBAN registry for the lengths.
"""

from __future__ import annotations

_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "CH": 21, "CY": 28, "CZ": 24, "DE": 22,
    "DK": 18, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GR": 27, "HR": 21,
    "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "LB": 28, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "MA": 28, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PL": 28,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26,
    "UA": 29, "VA": 22, "XK": 20,
}  # fmt: skip
"""Characters of an IBAN by country."""


def nir_key(body: str) -> int:
    """The two-digit key (1 to 97) of a NIR's 13 characters, which are digits but for Corsica's 2A and 2B.

    Raises ValueError where they are something else.
    """
    department = {"2A": "19", "2B": "18"}.get(body[5:7].upper(), body[5:7])
    digits = body[:5] + department + body[7:]
    if len(digits) != 13 or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"not the 13 characters of a NIR: {len(body)} found")
    return 97 - int(digits) % 97


def luhn_sum(digits: str) -> int:
    """Luhn's sum modulo 10 of a number that ends in its check digit; 0 where it is right."""
    total = sum(map(int, digits[-1::-2])) + sum(_LUHN_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return total % 10


def passes_luhn(digits: str) -> bool:
    """Whether a number's last digit is its Luhn check digit."""
    return luhn_sum(digits) == 0


def iban_remainder(iban: str) -> int:
    """An IBAN (upper case, no spaces) modulo 97, its first four characters moved to the end; 1 where it is right."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97


def passes_iban(iban: str) -> bool:
    """Whether country, length and check digits of an IBAN (upper case, no spaces) fit."""
    return (
        len(iban) == IBAN_LENGTHS.get(iban[:2], 0) and iban.isascii() and iban.isalnum() and iban_remainder(iban) == 1
    )
