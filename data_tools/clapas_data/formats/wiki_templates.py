"""Templates of the French Wikipedia that are words of the sentence: without them "au {{s|XIX}}" reads "au ".

Only the frequent ones, by their names in the wiki, lower case. All other templates are boxes, notes and banners.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Arguments = Callable[[int], str]
"""From a place, counted from 0, to that positional argument, empty where there is none."""

NBSP = "\u00a0"
_ORDINAL = re.compile(r"\d+(?:er|re|e|ème|nd|nde)s?|[ivxlcdm]+e", re.I)
_CENTURY = re.compile(r"([ivxlc]+)(?:e|er) siècle", re.I)
_NAMED = re.compile(r"\s*([\w -]{1,40})\s*=(.*)", re.S)
_TITLES = {"m.": "M.", "mme": "Mme", "mlle": "Mlle", "dr": "Dr", "mgr": "Mgr", "st": "St", "ste": "Ste", "pr": "Pr"}
_FIRST = (
    *("citation", "citation bloc", "citation étrangère", "«", "guillemets", "quote", "nobr", "nowrap", "petit"),
    *("abréviation", "abr", "exp", "ind", "souligner", "japonais", "terme défini", "nb", "nombre romain", "romain"),
)
_SECOND = ("lang", "langue", "étranger")


def spoken(content: str) -> str:
    """What a template says in the text, where it is one of those known here; else nothing."""
    name, *arguments = content.split("|")
    name = " ".join(name.split()).lower()
    if name.startswith("formatnum:"):
        return name.removeprefix("formatnum:").strip()
    if _ORDINAL.fullmatch(name):
        return name
    if century := _CENTURY.fullmatch(name):
        return _century(century[1])
    say = _SPOKEN.get(name)
    if say is None:
        return ""
    positional: list[str] = []
    named: dict[str, str] = {}
    for argument in arguments:
        if (pair := _NAMED.fullmatch(argument)) and not argument.lstrip().startswith("http"):
            named[pair[1].strip().lower()] = pair[2].strip()
        else:
            positional.append(argument.strip())
    at: Arguments = lambda place: positional[place] if place < len(positional) else named.get(str(place + 1), "")  # noqa: E731
    return say(at) or named.get("texte", "") or named.get("fr", "")


def _century(number: str) -> str:
    number = number.upper()
    return f"{number}{'er' if number == 'I' else 'e'} siècle" if number else ""


def _ordinal(number: str) -> str:
    return f"{number}{'er' if number in ('I', '1') else 'e'}" if number else ""


def _measure(at: Arguments) -> str:
    return NBSP.join(filter(None, (at(0), at(1))))


_SPOKEN: dict[str, Callable[[Arguments], str]] = {
    **{name: (lambda at: at(0)) for name in _FIRST},
    **{name: (lambda at: at(1)) for name in _SECOND},
    **{name: (lambda at, title=title: NBSP.join(filter(None, (title, at(0))))) for name, title in _TITLES.items()},
    **{name: (lambda at, name=name: name) for name in ("e", "er", "re", "ème", "nd", "nde")},
    **dict.fromkeys(("unité", "nombre", "num", "unité/2"), _measure),
    "s": lambda at: _century(at(0)),
    "siècle": lambda at: _century(at(0)),
    "s-": lambda at: _ordinal(at(0)),
    "-s": lambda at: f"{_century(at(0))} av. J.-C." if at(0) else "",
    "date": lambda at: " ".join(filter(None, (at(0), at(1), at(2)))),
    "date-": lambda at: " ".join(filter(None, (at(0), at(1), at(2)))),
    "lien": lambda at: at(0),
    "incise": lambda at: f"— {at(0)} —" if at(0) else "",
    "n°": lambda at: f"no{NBSP}{at(0)}" if at(0) else "no",
    "numéro": lambda at: f"no{NBSP}{at(0)}" if at(0) else "no",
    "av jc": lambda at: "av. J.-C.",
    "av. j.-c.": lambda at: "av. J.-C.",
    "apr jc": lambda at: "apr. J.-C.",
    "tiret": lambda at: "–",
    "'": lambda at: "'",
}
