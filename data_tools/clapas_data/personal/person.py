"""Names of persons after a title ("Mme Claire Martin", "M. le Dr DUPONT") or in a form's field ("Nom : Martin").

The name alone is found, the title stays. Offices ("M. le préfet") and names already made anonymous ("M. X...") are left.
Names without a title need a model: `names.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.finding import Finding
from clapas_data.personal.titles import ENDS, FUNCTIONS

_DOCTOR = r"(?:[dD]r|DR|[dD]octeure?|DOCTEURE?|[pP]r|PR|[pP]rofesseure?|PROFESSEURE?|Me|ME|[mM]a[îi]tre)"
_AFTER = rf"(?:[ \u00a0\u202f](?:(?:l[ea]|L[EA])[ \u00a0\u202f])?{_DOCTOR}\b\.?)?[ \u00a0\u202f]{{0,2}}(?:(?<![.e])\n|(?<=r\.)\n|(?<=[mlr]e)\n)?[ \u00a0]{{0,2}}(?=[A-ZÀ-ÝŒ])"
"""What may follow a title before the name: a second title, a line's end (but not a sentence's)."""
_TITLE = re.compile(
    r"[MDP](?<!\w\w)(?<![\w'’.\-]M)(?:"
    r"(?<=M)(?:\.M\.|\.|M\.|r\b\.?|mes?\b\.?|[ae]?lles?\b\.?|ME\b\.?|LLE\b|e\b|E\b|R\b\.?|onsieur\b|adame\b|ademoiselle\b|a[îi]tre\b|esdames\b|essieurs\b"
    r"|ONSIEUR\b|ADAME\b|ADEMOISELLE\b|A[ÎI]TRE\b|(?=[ \u00a0][A-ZÀ-Ý][a-zà-ÿ]))"
    r"|(?<=D)(?:rs?\b\.?|octeure?\b|OCTEURE?\b|R\b\.?(?=[ \u00a0][A-Z]{3}))"
    r"|(?<=P)(?:r\b\.?|rofesseure?\b|ROFESSEURE?\b|rof\b\.?|R\b\.?(?=[ \u00a0][A-Z]{3}))"
    rf"){_AFTER}"
)
_LOWER_TITLE = re.compile(
    rf"(?<![\w\-])(?:monsieur|madame|mademoiselle|docteure?|professeure?|ma[îi]tre|mme\b\.?|mlle\b\.?|mr\b\.?|dr\b\.?){_AFTER}"
)
_LOWER_HINT = re.compile(
    r"[A-ZÀ-ÝŒ](?<=[re.][ \u00a0\n].)(?:(?<=onsieur[ \u00a0].)|(?<=madame[ \u00a0].)|(?<=oiselle[ \u00a0].)|(?<=octeur[ \u00a0].)|(?<=octeure[ \u00a0].)"
    r"|(?<=fesseur[ \u00a0].)|(?<=fesseure[ \u00a0].)|(?<=a[îi]tre[ \u00a0].)|(?<=\Wmme[ .].)|(?<=\Wmlle[ ].)|(?<=\W[md]r[ ].)|(?<=\W[md]r\.[ ].))"
)
_FIELD = re.compile(
    r"[NPADSBIMRV](?<!\w\w)(?:(?<=N)(?:om|OM)(?:[ \u00a0](?:de[ \u00a0](?:naissance|famille|jeune fille)|d['’]usage|d['’]épouse|marital|patronymique|usuel|complet|du patient|de la patiente"
    r"|DE NAISSANCE|D['’]USAGE|DE FAMILLE))?(?:[ \u00a0]?(?:et|ET|,|/|-)[ \u00a0]?(?:[pP]rénoms?|PR[ÉE]NOMS?))?"
    r"|(?<=P)(?:r[ée]noms?|R[ÉE]NOMS?)(?:[ \u00a0](?:usuel|du patient|de la patiente|de naissance))?(?:[ \u00a0]?(?:et|ET|,|/)[ \u00a0]?(?:[nN]om|NOM))?|(?<=P)(?:atiente?|ATIENTE?|atient\(e\))"
    r"|(?<=A)(?:ssurée?|ssuré\(e\)|llocataire)|(?<=D)(?:emandeu(?:r|se)|estinataire)|(?<=S)(?:alariée?|ignataire)|(?<=B)énéficiaire|(?<=I)nterlocut(?:eur|rice)"
    r"|(?<=M)(?:édecin(?:[ \u00a0](?:traitant|référent|prescripteur|adresseur|signataire))?|ère|ari)|(?<=R)(?:equérante?|esponsable légal)|(?<=V)otre conseill(?:er|ère))"
    r"[ \u00a0\t]{0,3}[:=][ \u00a0\t]{0,4}(?:(?:M\.|Mr\.?|Mme|Mlle|Monsieur|Madame|Dr\.?|Docteur|Pr\.?|MME|DR)[ \u00a0])?(?=[^\W\d_])"
)
_MAIDEN = re.compile(r"[nN](?<!\w\w)(?:ée|ÉE|EE)[ \u00a0](?=[A-ZÀ-ÝŒ])")
_MAIDEN_HINTS = (" née ", " NÉE ", " NEE ", "(née ")
_TOKEN = re.compile(
    r"(?P<initial>(?:[A-ZÀ-Ý]h?\.[ \u00a0]?-?)+(?=[A-ZÀ-Ý]))"
    r"|(?:[dDlLO]['’])?[A-ZÀ-ÝŒ](?:[a-zà-ÿœ]+|[A-ZÀ-ÝŒ]+(?![a-zà-ÿ])|[a-zà-ÿ]{1,2}[A-ZÀ-Ý][A-Za-zÀ-ÿ]+)?(?:['’‐\-][A-ZÀ-ÝŒ]?[A-Za-zÀ-ÿœ]+)*(?!\w)"
)
_PARTICLE = re.compile(r"(?:(?:d[eu]|des|de la|le|la|van|von|der|den|di|da|dos|el|al|ben|bin|ould|DE|DU|DES|DE LA|LE|LA|VAN|VON|BEN|EL)[ \u00a0]|[dD]e l['’]|d['’]|D['’]){1,2}(?=[A-ZÀ-ÝŒ])")
_SPACE = re.compile(r"[ \u00a0\u202f]{1,2}|(?<=\w)-(?=[A-ZÀ-Ý])")
_LOWER = re.compile(r"[^\W\d_][^\W\d_'’\-]*(?:['’\- ][^\W\d_]+){0,3}(?=[ \t]*(?:\n|$|[;,|(]))")
_WRAPPED = 50
"""Characters from which a line counts as wrapped by its writer: a name may go on in the next one."""
_MOST_TOKENS = 5


def find_person(text: str) -> Iterator[Finding]:
    """Names of persons after titles, in forms' fields and after "née"."""
    for match in _TITLE.finditer(text):
        yield from _titled(text, match)
        if match[0].startswith(("MM", "Mmes", "Drs", "Messieurs", "Mesdames")):
            yield from _others(text, match.end())
    if _LOWER_HINT.search(text):
        for match in _LOWER_TITLE.finditer(text):
            yield from _titled(text, match)
    if ":" in text or "=" in text:
        for match in _FIELD.finditer(text):
            stop = name_end(text, match.end())
            if stop == match.end() and match[0][0] in "NP" and "atient" not in match[0]:
                lower = _LOWER.match(text, match.end())
                words = lower[0].lower().split() if lower else ()
                stop = lower.end() if lower and not any(word in FUNCTIONS or word in ENDS for word in words) else stop
            if stop > match.end():
                yield Finding("person", match.end(), stop)
    if any(hint in text for hint in _MAIDEN_HINTS):
        for match in _MAIDEN.finditer(text):
            yield from _named(text, match.end())


def _titled(text: str, title: re.Match[str]) -> Iterator[Finding]:
    """The name after a title, unless the title belongs to a street's or a hospital's name."""
    if not _EPONYM.search(text, max(0, title.start() - 24), title.start()) and _is_wrapped(text, title):
        yield from _named(text, title.end())


def _is_wrapped(text: str, title: re.Match[str]) -> bool:
    """Whether a line that ends between title and name, if one does, is long enough for that."""
    end = title[0].find("\n")
    return end < 0 or title.start() + end - (text.rfind("\n", 0, title.start()) + 1) >= _WRAPPED


def _named(text: str, start: int) -> Iterator[Finding]:
    stop = name_end(text, start)
    if stop > start:
        yield Finding("person", start, stop)


def _others(text: str, start: int) -> Iterator[Finding]:
    """The further names of a list: "MM. Durand, Petit et Roux"."""
    stop = name_end(text, start)
    for _ in range(8):
        link = _LINK.match(text, stop)
        if link is None:
            return
        start, stop = link.end(), name_end(text, link.end())
        if stop == start:
            return
        yield Finding("person", start, stop)


_LE_NAME = re.compile(r"[ \u00a0](?=[A-ZÀ-Ý])")
"""After a capital Le: "M. Le Goff", where what follows is no office."""
_EPONYM = re.compile(
    r"\b(?:rue|avenue|av\.|boulevard|bd|place|all[ée]e|impasse|chemin|square|quai|cours|h[ôo]pital|clinique|centre|lyc[ée]e|coll[èe]ge|[ée]cole|prix|fondation|institut|pavillon|r[ée]sidence"
    r"|salle|stade|Rue|Avenue|Place)[ \u00a0](?:du |de la |de |d['’])?$",
    re.IGNORECASE,
)
_LINK = re.compile(r"(?:, | et |, et )(?=[A-ZÀ-ÝŒ])")


def name_end(text: str, start: int) -> int:
    """Where the name that starts at `start` ends; `start` where there is none."""
    place = stop = start
    for count in range(_MOST_TOKENS):
        particle = _PARTICLE.match(text, place)
        if particle and count == 0 and particle[0].strip().lower() in ("le", "la", "el", "al", "de", "du", "ben", "d'"):
            after = _TOKEN.match(text, particle.end())  # "M. Le Goff" is a name, "M. Le Préfet" is not
            if after is None or after[0].lower() in FUNCTIONS:
                return start
        token = _TOKEN.match(text, particle.end() if particle else place)
        if token is None:
            break
        word = token[0].lower().rstrip(".")
        if word in ENDS or word in FUNCTIONS or set(word) == {"x"}:
            if count == 0 and word in ("le", "la") and _LE_NAME.match(text, token.end()):
                place = token.end() + 1
                continue
            break
        if token["initial"]:
            place = token.end()
            continue
        if len(token[0]) == 1:
            if stop == start:  # "M. X...", "Mme B": already anonymous
                return start
            break
        stop = place = token.end()
        gap = _SPACE.match(text, place)
        if gap is None:
            if not _goes_on(text, place):
                break
            place += 1
        else:
            place = gap.end()
    return stop


def _goes_on(text: str, place: int) -> bool:
    """Whether a line's end at `place` wrapped a name: the line is long, and a word in capitals begins the next."""
    if text[place : place + 1] != "\n" or place - (text.rfind("\n", 0, place) + 1) < _WRAPPED:
        return False
    return re.match(r"[A-ZÀ-Ý]{2}", text[place + 1 : place + 3]) is not None
