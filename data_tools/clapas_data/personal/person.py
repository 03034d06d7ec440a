"""Names of persons after a title ("Mme Claire Martin", "M. le Dr DUPONT") or in a form's field ("Nom : Martin").

The name alone is found, the title stays. Offices ("M. le préfet") and names already made anonymous ("M. X...") are left.
Names without a title need a model: `names.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.finding import Finding, has_any
from clapas_data.personal.name import LINK, UPPER, name_end
from clapas_data.personal.titles import COMMON, ENDS, FUNCTIONS

_SPACE = r"[ \u00a0\u202f]"
_DOCTOR = r"(?:[dD]r|DR|[dD]octeure?|DOCTEURE?|[pP]r|PR|[pP]rofesseure?|PROFESSEURE?|Me|ME|[mM]a[îi]tre)"
_NAME = rf"(?=[{UPPER}]|(?:(?<=[mM]\. )|(?<=[mM]me )|(?<=lle )|(?<=[dDpP]r )|(?<=r\. )|(?<=nsieur )|(?<=adame )|(?<=[lL]e [pP]rofesseur )|(?<=[lL]e [dD]octeur ))(?:d[eu] (?:la |l['’])?|d['’]|van |von |el |ben )[{UPPER}])"
_AFTER = (
    rf"(?:{_SPACE}(?:(?:l[ea]|L[EA]){_SPACE})?{_DOCTOR}\b\.?)?(?:{_SPACE}(?:veuve|[vV]ve))?"
    rf"{_SPACE}{{0,2}}(?:(?<![.e])\n|(?<=r\.)\n|(?<=[mlr]e)\n)?{_SPACE}{{0,2}}{_NAME}"
)
"""What may follow a title before the name: a second title, a line's end (but not a sentence's)."""
_TITLE = re.compile(
    r"[MDP](?<!\w\w)(?<![\w'’.\-]M)(?:"
    r"(?<=M)(?:\.M\.|\.|M\.|r\b\.?|mes?\b\.?|[ae]?lles?\b\.?|ME\b\.?|LLE\b|e\b|E\b|R\b\.?|onsieur\b|adame\b|ademoiselle\b|a[îi]tre\b|esdames\b|essieurs\b"
    rf"|ONSIEUR\b|ADAME\b|ADEMOISELLE\b|A[ÎI]TRE\b|(?={_SPACE}[{UPPER}][a-zà-ÿ]))"
    rf"|(?<=D)(?:rs?\b\.?|octeure?\b|OCTEURE?\b|R\b\.?(?={_SPACE}[A-Z]{{3}}))"
    rf"|(?<=P)(?:r\b\.?|rofesseure?\b|ROFESSEURE?\b|rof\b\.?|R\b\.?(?={_SPACE}[A-Z]{{3}}))"
    rf"){_AFTER}"
)
_LOWER_TITLE = re.compile(
    rf"(?<![\w\-])(?:monsieur|madame|mademoiselle|docteure?|professeure?|ma[îi]tre|mme\b\.?|mlle\b\.?|mr\b\.?|dr\b\.?){_AFTER}"
)
_LOWER_HINT = re.compile(
    rf"[{UPPER}](?<=[re.]{_SPACE}.)(?:(?<=onsieur{_SPACE}.)|(?<=madame{_SPACE}.)|(?<=oiselle{_SPACE}.)|(?<=octeure{_SPACE}.)|(?<=octeur{_SPACE}.)|(?<=fesseur{_SPACE}.)|(?<=fesseure{_SPACE}.)"
    r"|(?<=a[îi]tre[ \u00a0].)|(?<=\Wmme[ .].)|(?<=\Wmlle .)|(?<=\W[md]r .)|(?<=\W[md]r\. .)|(?<=\Wnée[ \u00a0].)|(?<=pouse[ \u00a0].)|(?<=veuve[ \u00a0].))"
)
"""From the name's capital letter: few letters are, and few of these follow such an end of a word."""
_ALL_LOWER = re.compile(r"(?<![\w\-.])(?:mme|mlle|mr|dr)\.? (?P<name>[a-zà-ÿ]{3,}(?:-[a-zà-ÿ]{3,})?)(?!\w)")
_ALL_LOWER_HINTS = (" mme ", " mr ", " dr ")
_OF = (
    rf"(?:{_SPACE}(?:de{_SPACE}(?:naissance|famille|jeune fille)|d['’]usage|d['’]épouse|marital|de{_SPACE}l['’]enfant|patronymique|usuels?|complet|(?:du|de la){_SPACE}(?:patiente?|salariée?|titulaire)"
    rf"|DE{_SPACE}NAISSANCE|D['’]USAGE|DE{_SPACE}FAMILLE|PATIENTE?|patient))?"
)
_AND = rf"{_SPACE}?(?:et|ET|,|/|-|&){_SPACE}?"
_FIRST_NAME = r"(?:[pP]r[ée]nom(?:s|\(s\))?|PR[ÉE]NOM(?:S|\(S\))?)"
_FIELD = re.compile(
    r"[ABCDEÉILMNOPRST](?<!\w\w)(?:"
    rf"(?<=N)(?:oms?|OMS?){_OF}(?:{_AND}{_FIRST_NAME})?|(?<=P)(?:r[ée]nom(?:s|\(s\))?|R[ÉE]NOM(?:S|\(S\))?){_OF}(?:{_AND}(?:[nN]om|NOM){_OF})?"
    r"|(?<=P)(?:atient(?:\(e\)|e)?|ATIENTE?)"
    r"|(?P<other>(?<=A)(?:ssurée?|llocataire|vocate?|nesthésiste|gent)|(?<=B)(?:énéficiaire|ailleur)|(?<=C)(?:onjointe?|hirurgien(?:ne)?|andidate?|ontact)"
    r"|(?<=D)(?:emandeu(?:r|se)|estinataire|éclarante?)|(?<=E)(?:xpéditeur|nfant)|(?<=É)(?:lève|tudiante?|poux|pouse)|(?<=I)nterlocut(?:eur|rice)|(?<=L)ocataire"
    r"|(?<=M)(?:édecin(?: (?:traitant|référent|prescripteur|adresseur|signataire|responsable))?|ère|ari)|(?<=O)pérateur|(?<=P)(?:ère|raticien(?:ne)?|rescripteur|ropriétaire|ersonne à prévenir)"
    r"|(?<=R)(?:equérante?|eprésentant légal|esponsable légal)|(?<=S)(?:alariée?|ignataire|ignée?|oussignée?)|(?<=T)(?:itulaire|uteur|utrice)))"
    rf"[ \u00a0\t]{{0,3}}[:=][ \u00a0\t.…_]{{0,40}}(?P<title>(?:M\.|Mr\.?|Mme|Mlle|Monsieur|Madame|Dr\.?|Docteur|Pr\.?|MME|DR|M\.? et Mme){_SPACE})?(?=[^\W\d_])"
)
_AFTER_WORD = re.compile(rf"(?:née|NÉE|NEE|Née|Nee|[sS]oussignée?(?:\(e\))?,?|épouse|veuve){_SPACE}(?:(?:M\.|Mme|Dr|Docteur){_SPACE})?(?=[{UPPER}])")
_AFTER_WORD_HINTS = (re.compile(r"oussigné"), re.compile(rf"N[éÉE][eE]{_SPACE}[{UPPER}]"))
_LOWER = re.compile(r"(?<![\w\-.])(?:mme|mlle|mr|dr)\.? (?P<name>[a-zà-ÿ]{3,}(?:-[a-zà-ÿ]{3,})?)(?!\w)")
_ALL_LOWER_HINTS = (" mme ", " mr ", " dr ")
_OF = (
    rf"(?:{_SPACE}(?:de{_SPACE}(?:naissance|famille|jeune fille)|d['’]usage|d['’]épouse|marital|de{_SPACE}l['’]enfant|patronymique|usuels?|complet|(?:du|de la){_SPACE}(?:patiente?|salariée?|titulaire)"
    rf"|DE{_SPACE}NAISSANCE|D['’]USAGE|DE{_SPACE}FAMILLE|PATIENTE?|patient))?"
)
_AND = rf"{_SPACE}?(?:et|ET|,|/|-|&){_SPACE}?"
_FIRST_NAME = r"(?:[pP]r[ée]nom(?:s|\(s\))?|PR[ÉE]NOM(?:S|\(S\))?)"
_FIELD = re.compile(
    r"[ABCDEÉILMNOPRST](?<!\w\w)(?:"
    rf"(?<=N)(?:oms?|OMS?){_OF}(?:{_AND}{_FIRST_NAME})?|(?<=P)(?:r[ée]nom(?:s|\(s\))?|R[ÉE]NOM(?:S|\(S\))?){_OF}(?:{_AND}(?:[nN]om|NOM){_OF})?"
    r"|(?<=P)(?:atient(?:\(e\)|e)?|ATIENTE?)"
    r"|(?P<other>(?<=A)(?:ssurée?|llocataire|vocate?|nesthésiste|gent)|(?<=B)(?:énéficiaire|ailleur)|(?<=C)(?:onjointe?|hirurgien(?:ne)?|andidate?|ontact)"
    r"|(?<=D)(?:emandeu(?:r|se)|estinataire|éclarante?)|(?<=E)(?:xpéditeur|nfant)|(?<=É)(?:lève|tudiante?|poux|pouse)|(?<=I)nterlocut(?:eur|rice)|(?<=L)ocataire"
    r"|(?<=M)(?:édecin(?: (?:traitant|référent|prescripteur|adresseur|signataire|responsable))?|ère|ari)|(?<=O)pérateur|(?<=P)(?:ère|raticien(?:ne)?|rescripteur|ropriétaire|ersonne à prévenir)"
    r"|(?<=R)(?:equérante?|eprésentant légal|esponsable légal)|(?<=S)(?:alariée?|ignataire|ignée?|oussignée?)|(?<=T)(?:itulaire|uteur|utrice)))"
    rf"[ \u00a0\t]{{0,3}}[:=][ \u00a0\t.…_]{{0,40}}(?P<title>(?:M\.|Mr\.?|Mme|Mlle|Monsieur|Madame|Dr\.?|Docteur|Pr\.?|MME|DR|M\.? et Mme){_SPACE})?(?=[^\W\d_])"
)
_AFTER_WORD = re.compile(rf"(?:née|NÉE|NEE|Née|Nee|[sS]oussignée?(?:\(e\))?,?|épouse|veuve){_SPACE}(?:(?:M\.|Mme|Dr|Docteur){_SPACE})?(?=[{UPPER}])")
_AFTER_WORD_HINTS = (
    re.compile(rf"née [{UPPER}]"), re.compile(rf"N[éÉE][eE] [{UPPER}]"), re.compile(r"oussigné"), re.compile(rf"épouse [{UPPER}]"), re.compile(rf"veuve [{UPPER}]"),
)  # fmt: skip
_LOWER = re.compile(r"[^\W\d_][^\W\d_'’\-]*(?:['’\- ][^\W\d_]+){0,3}(?=[ \t]*(?:\n|$|[;,|(]))")
_EPONYM = re.compile(
    r"\b(?:rue|avenue|av\.|boulevard|bd|place|all[ée]e|impasse|chemin|square|quai|cours|h[ôo]pital|clinique|centre|lyc[ée]e|coll[èe]ge|[ée]cole|prix|fondation|institut|pavillon|r[ée]sidence"
    rf"|salle|stade){_SPACE}(?:du |de la |de |d['’])?$",
    re.IGNORECASE,
)
"""A title after this belongs to a street's or a hospital's name."""
_WRAPPED = 50
"""Characters from which a line counts as wrapped by its writer: a name may follow in the next one."""


def find_person(text: str) -> Iterator[Finding]:
    """Names of persons after titles, in forms' fields and after "née"."""
    for match in _TITLE.finditer(text):
        yield from _titled(text, match)
        if match[0].startswith(("MM", "Mmes", "Drs", "Messieurs", "Mesdames")):
            yield from _others(text, match.end())
    has_lower = _LOWER_HINT.search(text) is not None
    if has_lower:
        for match in _LOWER_TITLE.finditer(text):
            yield from _titled(text, match)
    if has_any(text, _ALL_LOWER_HINTS):
        for match in _ALL_LOWER.finditer(text):
            if not {match["name"]} & (COMMON | ENDS | FUNCTIONS):
                yield Finding("person", *match.span("name"))
    if ":" in text or "=" in text:
        for match in _FIELD.finditer(text):
            yield from _field(text, match)
    if has_lower or _AFTER_WORD_HINTS[0].search(text) or _AFTER_WORD_HINTS[1].search(text):
        for match in _AFTER_WORD.finditer(text):
            yield from _named(text, match.end())


def _titled(text: str, title: re.Match[str]) -> Iterator[Finding]:
    """The name after a title, unless the title is part of another name or the name is a new line's beginning."""
    end = title[0].find("\n")
    line = title.start() + end - (text.rfind("\n", 0, title.start()) + 1)
    if (end < 0 or line >= _WRAPPED) and not _EPONYM.search(text, max(0, title.start() - 24), title.start()):
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


def _field(text: str, match: re.Match[str]) -> Iterator[Finding]:
    """The value of a form's field. One that may also hold other things is a name only with a title, or of two words."""
    start = match.end()
    stop = name_end(text, start)
    value = text[start:stop]
    if match["other"]:
        if stop > start and (match["title"] or " " in value.replace("\u00a0", " ")):
            yield Finding("person", start, stop)
        return
    if stop == start and not match[0].startswith(("Patient", "PATIENT")):
        lower = _LOWER.match(text, start)
        words = lower[0].lower().split() if lower else ()
        stop = lower.end() if lower and not any(word in FUNCTIONS or word in ENDS for word in words) else stop
    while stop > start and match[0].startswith(("Pr", "PR")) and (link := LINK.match(text, stop)):
        further = name_end(text, link.end())
        if further == link.end():
            break
        stop = further
    if stop > start:
        yield Finding("person", start, stop)
