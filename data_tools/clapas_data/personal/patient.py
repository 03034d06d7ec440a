"""Numbers of patients, stays and records, where the text says what they are; each hospital has its own form.

A bare "dossier n°" is any office's: it counts only in a text that speaks of care. IPP is also "incapacité permanente
partielle", which comes with a rate: a number under four digits, or one with %, is no patient's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.finding import Finding, has_any

_NUMBER = (
    r"(?:[nN]\s?[°º]|[nN]o\b\.?|[nN]um[ée]ros?|NUM[ÉE]ROS?|[nN](?:r|b|um)\b\.?|[iI]dentifiants?|IDENTIFIANT|[iI][dD]\b)"
)
_CARED_FOR = (
    r"[mM][ée]dical|M[ÉE]DICAL|(?:d[ue]\s|DU\s)?(?:[pP]atiente?|PATIENTE?)|clinique|hospitalier|d['’]hospitalisation"
    r"|infirmier"
)
_THING = (
    r"[pPsSvVaAhHdD](?<!\w\w)(?:atient(?:\(e\)|e)?|ATIENTE?|[ée]jour|[ÉE]JOUR|enue|ENUE|dmission|DMISSION"
    r"|ospitalisation|ermanent|ossier(?:\s(?:{0}))?|OSSIER(?:\s(?:{0}))?)"
).replace("{0}", _CARED_FOR)
_ACRONYM = re.compile(
    r"(?:\bI\.?P\.?P|\bN\.?I\.?P|\bIEP|\bNDA|\b[iI]pp|\bnip)(?!\w)\.?(?:\s(?:du|de la)?\s?patiente?)?"
)
_ACRONYMS = ("IPP", "NIP", "IEP", "NDA", "P.P", "ipp ")
_NUMBER_OF = re.compile(
    r"[nNiIcC](?<!\w\w)(?:ode|\s?[°º]|o\b\.?|um[ée]ros?|UM[ÉE]ROS?|[rb]\b\.?|um\b\.?|dentifiants?|DENTIFIANT|[dD]\b)"
    rf"\s{{0,2}}(?:d[eu]\s|d['’](?:identification\s)?|DE\s|DU\s|D['’])?{_THING}"
)
_THING_NUMBER = re.compile(rf"{_THING}\s{{0,2}}(?={_NUMBER}|#)")
_CALLED = re.compile(
    rf"[dDsSvVI](?<!\w\w)(?:(?:ossier|OSSIER)\s(?:{_CARED_FOR})\s?:|(?:éjour|ÉJOUR|EJOUR|enue)\s?:"
    r"|[Dd]\s(?:du\s)?[pP]atient\s?:?)"
)
_SIGNS = (
    "°",
    "uméro",
    "dentifiant",
    "#",
    "ID ",
    "UMÉRO",
    "UMERO",
    "numero",
    " no ",
    "nt :",
    "al :",
    "ur :",
    "UR :",
    "ue :",
)
_THINGS = (
    "atient",
    "éjour",
    "ossier",
    "dmission",
    "n° de venue",
    "ospitalisation",
    "ATIENT",
    "JOUR",
    "DOSSIER",
    "venue :",
    "DMISSION",
    "VENUE",
)
_LINK = re.compile(
    rf"(?:\s?\([^)\n\d]{{1,25}}\))?(?:[\s\u00a0]|[:=#\-–/]|\best\b|\ble\b|\bCH[RU]*\b|[hH]ôpital|[hH]ospitalier"
    rf"|{_NUMBER}){{0,8}}"
)
_CODE = re.compile(
    r"[A-Z]{0,5}(?:[\-/_ ](?=\d))?\d[\dA-Z]*(?:[.\-/_][\dA-Z]+|[ \u00a0\u202f]\d+){0,6}(?![\w%])(?![\s\u00a0]?(?:%|€"
    r"|euros?\b|ans\b|mois\b|jours\b|F\b|kg\b|mg\b))"
)
_CARE = re.compile(
    r"[pP]atient|PATIENT|[hH]ospitali[sè]|HOSPITALI|[hH]ôpital|H[ÔO]PITAL|\bCHR?U?\b|[cC]linique|[cC]onsultation"
    r"|[oO]rdonnance|[mM]édecin|M[ÉE]DECIN|[uU]rgences|\b[DP]r\b|\bDR\b"
    r"|diagnosti|DIAGNOSTI|prélèvement|Biologi|biologi"
)
_IS_DATE = re.compile(r"\d{1,2}[/.\-]\d{1,2}[/.\-]\d{2,4}$")


def find_ipp(text: str) -> Iterator[Finding]:
    """Patient, stay and record numbers in a text."""
    if has_any(text, _ACRONYMS):
        for label in _ACRONYM.finditer(text):
            yield from _after(text, label)
    if not (has_any(text, _SIGNS) and has_any(text, _THINGS)):
        return
    labels = [*_NUMBER_OF.finditer(text), *_THING_NUMBER.finditer(text), *_CALLED.finditer(text)]
    speaks_of_care = bool(labels) and _CARE.search(text) is not None
    for label in labels:
        is_an_offices = "ossier" in label[0].lower() and not re.search(_CARED_FOR, label[0])
        if speaks_of_care or not is_an_offices:
            yield from _after(text, label)


def _after(text: str, label: re.Match[str]) -> Iterator[Finding]:
    """The code that a label announces."""
    link = _LINK.match(text, label.end())
    code = _CODE.match(text, link.end() if link else label.end())
    if code and sum(map(str.isdigit, code[0])) >= 4 and not _IS_DATE.match(code[0]):
        yield Finding("ipp", *code.span())
