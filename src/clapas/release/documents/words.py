"""Numbers, quantities, dates and lists as French and English write them.

French groups digits by narrow no-break spaces and has a comma before decimals (Lexique des règles typographiques en
usage à l'Imprimerie nationale); what is below two is singular. English has commas and points; only one is singular. A
unit never stands on a line of its own: a no-break space is before it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from math import floor, log10
from typing import Literal

Language = Literal["fr", "en"]
LANGUAGES: tuple[Language, ...] = ("fr", "en")

NARROW, UNBROKEN = "\u202f", "\u00a0"
"""No-break spaces: between groups of digits, and before a unit."""
MONTHS = {
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "en": "January February March April May June July August September October November December",
}
LARGE = {
    "fr": ((1e12, "billion"), (1e9, "milliard"), (1e6, "million")),
    "en": ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")),
}
BYTES = {"fr": ("octet", "ko", "Mo", "Go", "To", "Po"), "en": ("byte", "kB", "MB", "GB", "TB", "PB")}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def either(language: Language, fr: str, en: str) -> str:
    """What is said in this language."""
    return fr if language == "fr" else en


def colon(language: Language) -> str:
    """The sign after a word, with French's space before it, which `typeset` makes one that does not break."""
    return either(language, " :", ":")


def number(value: float, language: Language) -> str:
    """A whole number: 3 000 000; 3,000,000."""
    return decimal(value, 0, language)


def decimal(value: float, digits: int, language: Language) -> str:
    """With this many decimals: 1 234,50; 1,234.50."""
    return _written(f"{value:,.{digits}f}", language)


def significant(value: float, digits: int, language: Language) -> str:
    """To this many significant digits, without powers of ten and without zeros that say nothing: 0,00042; 12 000."""
    if value == 0:
        return "0"
    decimals = digits - 1 - floor(log10(abs(value)))
    text = f"{round(value, decimals):,.{max(decimals, 0)}f}"
    return _written(text.rstrip("0").rstrip(".") if "." in text else text, language)


def power_of_ten(value: float, language: Language, digits: int = 3) -> str:
    """A very large or small number: 3,07 × 10¹⁰."""
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{_written(mantissa, language)}{UNBROKEN}×{UNBROKEN}10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def rounded(value: float, language: Language) -> str:
    """A count as it is said, to three digits: 7,24 milliards; 7.24 billion; below a million, whole."""
    for size, name in LARGE[language]:
        if value >= size:
            said = value / size
            plural = "s" if language == "fr" and said >= 2 else ""
            return f"{significant(said, 3, language)}{UNBROKEN}{name}{plural}"
    return number(value, language)


def percent(share: float, language: Language, digits: int = 1) -> str:
    """A share of one: 12,5 %; 12.5%."""
    return decimal(100 * share, digits, language) + (f"{UNBROKEN}%" if language == "fr" else "%")


def count(value: int, singular: str, plural: str, language: Language) -> str:
    """How many of something: 1 document, 2 documents."""
    return f"{number(value, language)}{UNBROKEN}{chosen(value, singular, plural, language)}"


def chosen(value: float, singular: str, plural: str, language: Language) -> str:
    """The form of a word that goes with a number: French has the singular below two, English for one alone."""
    return singular if (abs(value) < 2 if language == "fr" else value == 1) else plural


def size(value: int, language: Language) -> str:
    """A number of bytes, in powers of 1000: 16,4 Mo; 16.4 MB."""
    byte, *units = BYTES[language]
    if value < 1000:
        return count(value, byte, f"{byte}s", language)
    return _in_unit(value / 1e3, 1e3, units, language)


def energy(joules: float, language: Language) -> str:
    """In the unit that fits: 12,3 kWh."""
    return _in_unit(joules / 3600, 1e3, ("Wh", "kWh", "MWh", "GWh"), language)


def mass(grams: float, language: Language) -> str:
    """In the unit that fits: 820 g; 1,5 kg; 26 t."""
    return _in_unit(grams, 1e3, ("g", "kg", "t"), language)


def duration(seconds: float, language: Language) -> str:
    """In the two units that fit: 41 s; 7 min 54 s; 3 h 5 min; 12 jours 4 h."""
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    parts = [
        (days, chosen(days, "jour", "jours", "fr") if language == "fr" else chosen(days, "day", "days", "en")),
        (hours, "h"),
        (minutes, "min"),
        (whole % 60, "s"),
    ]
    first = next((place for place, (value, _) in enumerate(parts) if value), len(parts) - 1)
    told = [part for part in parts[first : first + 2] if part[0]] or [parts[-1]]
    return " ".join(f"{number(value, language)}{UNBROKEN}{unit}" for value, unit in told)


def date(day: str, language: Language) -> str:
    """A day in ISO 8601, with a time or not: 1er août 2026; 1 August 2026."""
    found = datetime.date.fromisoformat(day[:10])
    first = "er" if language == "fr" and found.day == 1 else ""
    return f"{found.day}{first}{UNBROKEN}{month(day, language)}"


def month(year_month: str, language: Language) -> str:
    """A month in ISO 8601 (`2026-08`): août 2026; August 2026."""
    year, place = year_month.split("-")[:2]
    return f"{MONTHS[language].split()[int(place) - 1]} {year}"


def listed(items: Sequence[str], language: Language, last: Literal["and", "or"] = "and") -> str:
    """One sentence's list: a, b et c; a, b and c."""
    word = {"and": "et", "or": "ou"}[last] if language == "fr" else last
    *before, end = items or ("",)
    return f"{', '.join(before)} {word} {end}" if before else end


def typeset(text: str) -> str:
    """French prose with no-break spaces before `: ; ! ? »` and after `«`; code stays as it is."""
    parts = re.split(r"(^```.*?^```|`[^`\n]*`)", text, flags=re.M | re.S)
    return "".join(part if place % 2 else _unbroken(part) for place, part in enumerate(parts))


def _unbroken(text: str) -> str:
    text = re.sub(r" (?=[;!?])", NARROW, text)
    return re.sub(r" (?=[:»])|(?<=«) ", UNBROKEN, text)


def _written(text: str, language: Language) -> str:
    return text.replace(",", NARROW).replace(".", ",") if language == "fr" else text


def _in_unit(value: float, step: float, units: Sequence[str], language: Language) -> str:
    """To three digits, in the largest of the units (each `step` of the one before) that leaves one or more."""
    place = 0
    while place < len(units) - 1 and float(f"{value:.3g}") >= step:
        value, place = value / step, place + 1
    return f"{significant(value, 3, language)}{UNBROKEN}{units[place]}"
