"""Names of persons after a title ("Mme Claire Martin", "M. le Dr DUPONT"), in a form's field, after "née".

The name alone is found, the title stays. Offices ("M. le préfet") and names already made anonymous ("M. X...") are
left. Names without a title need a model: `names.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.fields import find_in_fields
from clapas_data.personal.finding import Finding, has_any
from clapas_data.personal.name import LINK, WRAPPED, name_end
from clapas_data.personal.titles import (
    AFTER_WORD,
    AFTER_WORD_HINTS,
    ALL_LOWER,
    ALL_LOWER_HINTS,
    LOWER_HINT,
    LOWER_TITLE,
    OF_SEVERAL,
    SPACE,
    TITLE,
)
from clapas_data.personal.words import COMMON, ENDS, FUNCTIONS

_EPONYM = re.compile(
    r"\b(?:rue|avenue|av\.|boulevard|bd|place|all[ée]e|impasse|chemin|square|quai|cours|h[ôo]pital|clinique|centre"
    r"|lyc[ée]e"
    r"|coll[èe]ge|[ée]cole|prix|fondation|institut|pavillon|r[ée]sidence|salle|stade)"
    rf"{SPACE}(?:du |de la |de |d['’])?$",
    re.IGNORECASE,
)
"""A title after this belongs to a street's or a hospital's name."""
_EPONYM_REACH = 24


def find_person(text: str) -> Iterator[Finding]:
    """Names of persons in a text."""
    for match in TITLE.finditer(text):
        yield from _titled(text, match)
        if match[0].startswith(OF_SEVERAL):
            yield from _others(text, match.end())
    has_lower = LOWER_HINT.search(text) is not None
    if has_lower:
        for match in LOWER_TITLE.finditer(text):
            yield from _titled(text, match)
    if has_any(text, ALL_LOWER_HINTS):
        for match in ALL_LOWER.finditer(text):
            if not {match["name"]} & (COMMON | ENDS | FUNCTIONS):
                yield Finding("person", *match.span("name"))
    yield from find_in_fields(text)
    if has_lower or AFTER_WORD_HINTS[0].search(text) or AFTER_WORD_HINTS[1].search(text):
        for match in AFTER_WORD.finditer(text):
            yield from _named(text, match.end())


def _titled(text: str, title: re.Match[str]) -> Iterator[Finding]:
    """The name after a title, unless the title is part of another name or the name is a new line's beginning."""
    end = title[0].find("\n")
    line = title.start() + end - (text.rfind("\n", 0, title.start()) + 1)
    if end >= 0 and line < WRAPPED:
        return
    if not _EPONYM.search(text, max(0, title.start() - _EPONYM_REACH), title.start()):
        yield from _named(text, title.end())


def _named(text: str, start: int) -> Iterator[Finding]:
    stop = name_end(text, start)
    if stop > start:
        yield Finding("person", start, stop)


def _others(text: str, start: int) -> Iterator[Finding]:
    """The further names of a list: "MM. Durand, Petit et Roux"."""
    stop = name_end(text, start)
    while (link := LINK.match(text, stop)) and (further := name_end(text, link.end())) > link.end():
        yield Finding("person", link.end(), further)
        stop = further
