"""Postal addresses: a number, a kind of way, a name; then, where they follow, post code and town.

An address with CEDEX is an organisation's (La Poste gives CEDEX to firms and offices alone) and stays; other
organisations' addresses look like a person's and are found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.finding import Finding

_SURE = r"rue|avenue|av\.?|ave\.?|boulevard|b[lv]?d\.?|all[ée]es?|chemin|ch\.|che\.|chem\.|impasse|imp\.?"
_WAYS = (
    rf"{_SURE}|place|pl\.?|route|rte\.?|cours|quai|square|sq\.?|passage|cit[ée]|r[ée]sidence|r[ée]s\.?|lotissement"
    r"|lot\.?|faubourg|fb?g\.?|sente|sentier|venelle"
    r"|ruelle|villa|esplanade|promenade|mont[ée]e|c[ôo]te|traverse|voie|hameau|domaine|clos|parvis|mail|rond[- ]point"
    r"|chauss[ée]e|descente|lieu[- ]dit|quartier"
    r"|enclos|grande?[ -]rue|galerie|cour|plan|traboule|r\.(?=[ \u00a0]d)"
)
"""Kinds of way, as La Poste lists and people shorten them (norme AFNOR NF Z10-011)."""
_START = re.compile(
    r"[0-9](?=[ ,\u00a0bBtTqQa-fA-F\n])(?:[ \u00a0]?(?:bis|ter|quater|BIS|TER|QUATER"
    r"|[A-Fa-f](?=[ ,\u00a0])))?,?[ \u00a0\n]{1,2}"
    r"(?=[rR][uUoOtTéÉeE]|r\.|[aA][vVlL]|[bB][oOdDvVlL]|[pPcCiI][lLaArRoOhHiIôÔmM]|[qQsStT][uUaAeEqQrR]"
    r"|[lLfF][oOiIaAbBgG]|[vVeE][eEiInNsSoO]|[mM][oOaA]"
    rf"|[dDhH][oOeEaA]|[gG][aArR])(?P<way>(?i:{_WAYS}))(?:[ \u00a0]{{1,2}}|(?=,))"
)
"""From the number's last digit: that fails soonest. The two letters are looked at first, since few words begin like a
way."""
_NUMBER = re.compile(r"(?<![\w.,/])(?<!\d-)(?<!\W\d )(?<!\W\d\d )(?<!\d\d\d )\d{1,4}(?:\s?[-/]\s?\d{1,3})?$")
_YEAR = re.compile(
    r"(?:\b(?:en|depuis|an|année|fin|début)|janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre"
    r"|décembre)\s(?:19|20)\d\d$"
)
_CODE = re.compile(
    r"(?<![\d\w])(?:F-|FR-)?(?P<code>(?:0[1-9]|[1-8]\d|9[0-8])[ \u00a0]?\d{3})[ \u00a0,–-]{1,3}(?=[^\W\d_])"
)
_BROKEN = re.compile(r"\n[ \t]*\n|(?!appt)[a-zà-ÿ]{4,}\.\s|[:;?!]|\n[^\n]*\n[^\n]*\n[^\n]*\n|\d{6}", re.IGNORECASE)
_SMALL = r"(?:d[eu]|des|la|les?|à|aux?|en|sur|sous|saint|sainte|ste?|van|von|DE|DU|DES|LA|LES?)"
_MONTH = r"(?:janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre)"
_STREET = re.compile(
    rf"(?:{_SMALL}[ \u00a0]|[dDlL]['’])*(?:\d{{1,2}}(?:er)?[ \u00a0-]{_MONTH}(?:[ \u00a0-]\d{{4}})?"
    r"|[A-ZÀ-ÝŒ0-9][\w'’\-]*\.?)"
    rf"(?:[ \u00a0](?:{_SMALL}[ \u00a0]|[dDlL]['’])*[A-ZÀ-ÝŒ][\w'’\-]*)*",
)
_LOWER_STREET = re.compile(rf"(?:{_SMALL}[ \u00a0]|[dl]['’])+[^\W\d_][\w'’\-]+")
_WORD = r"[A-ZÀ-ÝŒ][\w'’]*(?:-[\w'’]+)*"
_TOWN = re.compile(
    rf"(?:{_WORD}(?:[ \u00a0](?:(?:d[eu]|des|la|les?|l[èe]s|en|sur|sous|aux?|DE|DU|DES|LA|LES?|EN|SUR|SOUS"
    rf"|AUX?)[ \u00a0]|[dDlL]['’])*{_WORD}){{0,4}}"
    r"|[a-zà-ÿ][\w'’\-]+(?: (?:sur|les|la|le|de|en|sous) [a-zà-ÿ\-]+){0,2})(?:(?:(?<=[aA][rR][iI][sS]"
    r"|.[LlYy][yYoO][oOnN]|[iI][lL][lL][eE])|(?<= SP))[ \u00a0](?:SP )?\d{1,2}(?:er|e|ème|È?ME)?(?!\w"
    r"|[ .\-]\d)(?: SP\b)?)?"
)
_NOT_A_TOWN = re.compile(
    r"[ \u00a0](?:T[ée]l\w*|TEL\w*|TÉL\w*|Fax|FAX|E?-?[Mm]ail|Courriel|N[ée]e?|NIR|Mme|Mlle|M|Mr|Monsieur|Madame|Dr"
    r"|Docteur|Portable|Mobile|SIRET|SIREN|RCS|Date|Le|Objet|R[ée]f"
    r"|IBAN|DDN|France|FRANCE|IPP|INS|RPPS|Qui|Il|Elle|Je|Nous|Merci)(?![\w'’]*[ \u00a0-][a-z]?[A-Z]?[\w]*-)\b"
)
_TOWN_CODE = re.compile(rf"[ ,\u00a0–-]{{1,3}}(?:à )?{_WORD}(?:[ -]{_WORD}){{0,3}}[ \u00a0]\(?\d{{5}}\)?")
_LIVES = re.compile(
    r"habit|demeur|adresse|domicil|\bsise?\b|\blog[ée]|r[ée]sid[ea]|chez (?:moi|lui|elle)", re.IGNORECASE
)
_BOX = re.compile(r"(?:CS|BP|TSA)\b")
_CEDEX = re.compile(r"cedex", re.IGNORECASE)
_REACH = 130
"""Characters within which an address's post code follows its way: complements, residence and floor stand between."""


def find_address(text: str) -> Iterator[Finding]:
    """Postal addresses in a text, from the number to the town, or to the street's end where no post code follows."""
    done = 0
    for match in _START.finditer(text):
        number = _NUMBER.search(text, max(done, match.start() - 10), match.start() + 1)
        if number is None or (len(number[0]) == 4 and _YEAR.search(text, max(0, number.start() - 14), number.end())):
            continue
        stop = _with_town(text, match.end())
        if stop == 0:
            stop = _street_only(text, match)
        if stop > 0:
            done = stop
            yield Finding("address", number.start(), stop)


def _with_town(text: str, start: int) -> int:
    """Where the town ends that belongs to the way before `start`; 0 where no post code follows, -1 where CEDEX does."""
    code = next(
        (code for code in _CODE.finditer(text, start, start + _REACH) if not _BOX.match(text, code.end())), None
    )
    if code is None:
        return 0
    between = text[start : code.start()]
    if _BROKEN.search(between) or _START.search(between):
        return 0
    town = _TOWN.match(text, code.end())
    if town is None:
        return 0
    stop = town.end()
    other = _NOT_A_TOWN.search(text, town.start(), stop)
    if other:
        stop = other.start()
    return -1 if _CEDEX.search(text, town.start(), min(len(text), stop + 20)) else stop


def _street_only(text: str, match: re.Match[str]) -> int:
    """Where a street without town ends; 0 where what follows the way is no name."""
    street = _STREET.match(text, match.end())
    is_home = _LIVES.search(text, max(0, match.start() - 40), match.start()) is not None
    if street is None and (is_home or _IS_SURE.fullmatch(match["way"])):
        street = _LOWER_STREET.match(text, match.end())
    if street is None or _CEDEX.search(text, street.end(), street.end() + 60):
        return 0
    town = _TOWN_CODE.match(text, street.end())
    return town.end() if town else street.end() - (1 if street[0].endswith(".") else 0)


_IS_SURE = re.compile(_SURE, re.IGNORECASE)
