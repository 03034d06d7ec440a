"""Names in a form's fields: "Nom de naissance : MARTIN", "Patient : M. Jean Martin", "Médecin traitant : Dr Roux"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.finding import Finding
from clapas_data.personal.name import LINK, name_end
from clapas_data.personal.titles import SPACE
from clapas_data.personal.words import ENDS, FUNCTIONS

_OF = "|".join((
    f"de{SPACE}(?:naissance|famille|jeune fille)", "d['’](?:usage|épouse)", "marital", f"de{SPACE}l['’]enfant",
    "patronymique", "usuels?",
    "complet",
        "utilisé", f"(?:du|de la){SPACE}(?:patiente?|salariée?|titulaire)", f"DE{SPACE}NAISSANCE", "D['’]USAGE",
    f"DE{SPACE}FAMILLE",
    "PATIENTE?", "patient",
))  # fmt: skip
_OF = f"(?:{SPACE}(?:{_OF}))?"
_AND = f"{SPACE}?(?:et|ET|,|/|-|&){SPACE}?"
_GIVEN = r"(?:r[ée]nom(?:s|\(s\))?|R[ÉE]NOM(?:S|\(S\))?)"
_OTHERS = {
    "A": "ssurée?|llocataire|vocate?|nesthésiste|gent", "B": "énéficiaire|ailleur",
    "C": "oncern(?:ant|e)|onjointe?|hirurgien(?:ne)?|andidate?|ontact",
    "D": "emandeu(?:r|se)|estinataire|éclarante?", "E": "xpéditeur|nfant", "É": "lève|tudiante?|poux|pouse",
    "I": "nterlocut(?:eur|rice)|dentité",
    "L": "ocataire", "M": "édecin(?: (?:traitant|référent|prescripteur|adresseur|signataire|responsable))?|ère|ari",
    "O": "pérateur",
    "P": "ère|raticien(?:ne)?|rescripteur|ropriétaire|ersonne à prévenir",
    "R": "equérante?|eprésentant légal|esponsable légal",
    "S": "alariée?|ignataire|ignée?|oussignée?", "T": "itulaire|uteur|utrice",
}  # fmt: skip
"""Fields that mostly hold a name, by their first letter."""
_OTHER = "|".join(f"(?<={first})(?:{rest})" for first, rest in _OTHERS.items())
_FIELD = re.compile(
    rf"[{''.join(_OTHERS)}N](?<!\w\w)(?:"
    rf"(?<=N)(?:oms?|OMS?){_OF}(?:{_AND}[pP]{_GIVEN})?|(?<=P){_GIVEN}{_OF}(?:{_AND}(?:[nN]om|NOM){_OF})?"
    r"|(?<=P)(?:atient(?:\(e\)|e)?|ATIENTE?)"
    rf"|(?P<other>{_OTHER}))"
    "[ \u00a0\t]{0,3}[:=][ \u00a0\t.…_]{0,40}"
    rf"(?P<title>(?:M\.|Mr\.?|Mme|Mlle|Monsieur|Madame|Dr\.?|Docteur|Pr\.?|MME|DR|M\.? et Mme){SPACE})?(?=[^\W\d_])"
)
_NEXT_FIELD = re.compile("[ \u00a0]?[:=]")
_IN_SMALL_LETTERS = re.compile(r"[^\W\d_][^\W\d_'’\-]*(?:['’\- ][^\W\d_]+){0,3}(?=[ \t]*(?:\n|$|[;,|(]))")


def find_in_fields(text: str) -> Iterator[Finding]:
    """Names in a form's fields."""
    if ":" not in text and "=" not in text:
        return
    for match in _FIELD.finditer(text):
        start = match.end()
        stop = _value_end(text, match)
        if stop > start:
            yield Finding("person", start, stop)


def _value_end(text: str, field: re.Match[str]) -> int:
    """Where the name ends that a field holds; where it would begin if there is none.

    A field that may also hold other things has a name only with a title, or of two words.
    """
    start = field.end()
    stop = name_end(text, start)
    if stop > start and _NEXT_FIELD.match(text, stop):  # "Nom : Martin Spécialité : ..."
        stop = start + max(0, text[start:stop].replace("\u00a0", " ").rfind(" "))
    if field["other"]:
        return stop if field["title"] or re.search(SPACE, text[start:stop]) else start
    if stop == start and not field[0].startswith(("Patient", "PATIENT")):
        return _small_letters_end(text, start)
    if field[0].startswith(("Pr", "PR", "Nom", "NOM")):  # several given names: "Jean, Marie"
        while (
            stop > start and (link := LINK.match(text, stop)) and (further := name_end(text, link.end())) > link.end()
        ):
            stop = further
    return stop


def _small_letters_end(text: str, start: int) -> int:
    match = _IN_SMALL_LETTERS.match(text, start)
    if match is None or any(word in FUNCTIONS or word in ENDS for word in match[0].lower().split()):
        return start
    return match.end()
