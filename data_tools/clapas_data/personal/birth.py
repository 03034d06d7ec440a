"""Dates of birth: a date counts only where the text says that somebody was born."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.finding import Finding, has_any

MONTHS = (
    "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
    "décembre",
)  # fmt: skip
_MONTH = (
    r"(?:janv(?:ier|\.)?|f[ée]v(?:rier|r?\.?)?|mars|avr(?:il|\.)?|mai|juin|juil(?:let|\.)?|ao[ûu]t|sept(?:embre|\.)?"
    r"|oct(?:obre|\.)?|nov(?:embre|\.)?|d[ée]c(?:embre|\.)?)"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_SIGN = r"(?:\s?[/.\-–]\s?|\s)"
DATE = (
    rf"(?:(?:{_DAY}|1er){_SIGN}(?:0?[1-9]|1[0-2]){_SIGN}(?:1[89]|20)?\d\d(?!\d)"
    rf"|(?:1[89]|20)\d\d[/.\-](?:0?[1-9]|1[0-2])[/.\-]{_DAY}(?!\d)"
    rf"|(?:{_DAY}|1\s?(?:er|ER))[\s\-]{{1,2}}(?i:{_MONTH})[\s\-]{{1,2}}(?:(?:1[89]|20)\d\d|\d\d)(?!\d)"
    rf"|{_DAY.replace('0?', '0')}(?:0[1-9]|1[0-2])(?:19|20)\d\d(?!\d))"
)
"""A full date: 12/03/1961, 12.3.61, 1961-03-12, 12 mars 1961, 1er mai 1950, 12031961."""
_WEEKDAY = r"(?:(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)\s)?"
_WORD = r"[A-ZÀ-Ý][A-Za-zÀ-ÿ'’\-]+"
_WHERE = (
    rf"(?:[àa]|[Aa]u(?!\splus)|[Aa]ux|[Ee]n|À|A)\s(?:[^\d\n.;]|\d{{1,2}}(?:e|er"
    rf"|[èe]me)\b){{1,40}}?(?:\s?\([^)\n]{{1,20}}\))?|{_WORD}(?:\s{_WORD}){{0,2}}"
)
_BORN = re.compile(
    r"[nN](?<![\w-]\w)(?:[éÉ](?:[eE]?[sS]?|\([eE]\)|[.·][eE]|-[eE])|EE?|ee|e(?=\sle\s\d)|e\(e\))(?!\w)"
    rf"(?:\s[a-zé]+ment)?(?:[\s,]{{1,3}}(?:{_WHERE}))?[\s,:]{{1,3}}(?:(?:le|LE|Le|un)[\s:]{{0,3}}{_WEEKDAY}"
    rf"|(?=\d\d?(?:[/.]\d|\s\D{{3,9}}\s\d{{4}})))(?P<date>{DATE})"
)
_NAMED = re.compile(
    r"(?:[nN]aiss(?:ance|\.|(?=\s?[:=]))|NAISSANCE|D(?<!\w\w)(?:DN|dn|\.D\.N|\.N|N|OB|oB)(?!\w)\.?|Birth\s?date"
    r"|Date of birth|ddn|d\.d\.n\.)"
    r"(?:\s?\([^)\n\d]{1,25}\))?(?:\s(?:d[ue] (?:la )?(?:patiente?|b[ée]b[ée]|titulaire|demandeur|salari[ée]e?"
    r"|assur[ée]e?)|de l['’](?:enfant|assuré|intéressée?)|et lieu|est|au|le))*"
    rf"(?:[\s:=.\-–*|_]{{0,10}}|\s?[:=]\s?(?:[^\d\n;:]"
    rf"|\(\d[\dAB]\d{{0,3}}\)){{2,40}}?[, ]{{1,2}})(?:le\s)?{_WEEKDAY}(?P<date>{DATE})"
)
_NOT_A_PERSONS = re.compile(
    r"avant|apr[èe]s|compter|entre|jusqu|partir|post[ée]rieur|ant[ée]rieur|cong[ée]|prime|allocation|prestation"
    r"|depuis|survenu|intervenu",
    re.IGNORECASE,
)
_RANGE = re.compile(r"\s?[–-]\s?\d")
"""After a date: those born between two dates are many."""
_WORDS = ("AISSANCE", "irth", "ddn", "d.d.n")
_HINTS = (
    re.compile(r"naiss(?<!\wnaiss)(?:ance\s?(?:[(:=du.\-|\n]|le |et )|\.|\s)"),
    re.compile(r"Naiss"),
    re.compile(r"né(?<!\w\wé)(?:e|s|es|\(e\)|[.·-]e)?[ ,:\n\u00a0]"),
    re.compile(r"N(?:[éÉ]|EE?\s|ee?\sle\s|e\()"),
    re.compile(r"ne(?:\(e\)|e)? le \d"),
    re.compile(r"D(?:DN|dn|\.D?\.?N|N\b|OB\b|oB\b)"),
)
"""Each begins with a letter that is searched for fast; most texts have none of them."""


def find_birth_date(text: str) -> Iterator[Finding]:
    """Dates of birth in a text: the date alone."""
    if not (has_any(text, _WORDS) or any(hint.search(text) for hint in _HINTS)):
        return
    for pattern in (_NAMED, _BORN):
        for match in pattern.finditer(text):
            if _RANGE.match(text, match.end()):
                continue
            if not _NOT_A_PERSONS.search(text, match.start(), match.start("date")):
                yield Finding("birth_date", *match.span("date"))
