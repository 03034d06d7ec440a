"""Titles before a name, as patterns that end where the name begins: "Mme ", "M. le Pr ", "Monsieur ", "dr. "."""

from __future__ import annotations

import re

from clapas_data.personal.name import UPPER

SPACE = "[ \u00a0\u202f]"
_SECOND = r"(?:[dD]r|DR|[dD]octeure?|DOCTEURE?|[pP]r|PR|[pP]rofesseure?|PROFESSEURE?|Me|ME|[mM]a[îi]tre)"
_SMALL_WORD_MAY_FOLLOW = "|".join(
    f"(?<={end} )"
    for end in (
        r"[mM]\.",
        "[mM]me",
        "lle",
        "[dDpP]r",
        r"r\.",
        "nsieur",
        "adame",
        "[lL]e [pP]rofesseur",
        "[lL]e [dD]octeur",
    )
)
"""After these "de" begins a name ("M. de Vigny"); after "professeur" it does not ("professeur de Lettres")."""
_NAME = rf"(?=[{UPPER}]|(?:{_SMALL_WORD_MAY_FOLLOW})(?:d[eu] (?:la |l['’])?|d['’]|van |von |el |ben )[{UPPER}])"
_AFTER = (
    rf"(?:{SPACE}(?:(?:l[ea]|L[EA]){SPACE})?{_SECOND}\b\.?)?(?:{SPACE}(?:veuve|[vV]ve))?"
    rf"{SPACE}{{0,2}}(?:(?<![.e])\n|(?<=r\.)\n|(?<=[mlr]e)\n)?{SPACE}{{0,2}}{_NAME}"
)
"""What may follow a title before the name: a second title, a line's end (but not a sentence's)."""
_IN_CAPITALS = rf"(?={SPACE}[A-Z]{{3}})"
_OF_M = (
    r"\.M\.", r"\.", r"M\.", r"r\b\.?", r"mes?\b\.?", r"[ae]?lles?\b\.?", r"ME\b\.?", r"LLE\b", r"[eE]\b",
    r"R\b\.?", r"onsieur\b", r"adame\b",
    r"ademoiselle\b", r"a[îi]tre\b", r"esdames\b", r"essieurs\b", r"ONSIEUR\b", r"ADAME\b", r"ADEMOISELLE\b",
    r"A[ÎI]TRE\b",
    rf"(?={SPACE}[{UPPER}][a-zà-ÿ])",
)  # fmt: skip
"""What may follow a capital M: M. Mr Mme Mlle Me Monsieur ..., and M alone before a name."""
TITLE = re.compile(
    rf"[MDP](?<!\w\w)(?<![\w'’.\-]M)(?:(?<=M)(?:{'|'.join(_OF_M)})"
    rf"|(?<=D)(?:rs?\b\.?|octeure?\b|OCTEURE?\b|R\b\.?{_IN_CAPITALS})"
    rf"|(?<=P)(?:r\b\.?|rofesseure?\b|ROFESSEURE?\b|rof\b\.?|R\b\.?{_IN_CAPITALS})){_AFTER}"
)
"""Begins with one of three capitals, which are looked for fast."""
OF_SEVERAL = ("MM", "Mmes", "Drs", "Messieurs", "Mesdames")
LOWER_TITLE = re.compile(
    r"(?<![\w\-])(?:monsieur|madame|mademoiselle|docteure?|professeure?|ma[îi]tre|mme\b\.?|mlle\b\.?|mr\b\.?"
    rf"|dr\b\.?){_AFTER}"
)
_ENDS_BEFORE_NAME = (
    "onsieur", "madame", "oiselle", "octeure", "octeur", "fesseur", "fesseure", "a[îi]tre", r"\Wmme", r"\Wmlle",
    r"\W[md]r", r"\W[md]r\.",
    r"\Wnée", "pouse", "veuve",
)  # fmt: skip
LOWER_HINT = re.compile(
    rf"[{UPPER}](?<=[re.]{SPACE}.)(?:{'|'.join(f'(?<={end}{SPACE}.)' for end in _ENDS_BEFORE_NAME)})"
)
"""A capital letter after a title in small letters, or after "née": few letters are capitals, so this is fast too."""
ALL_LOWER = re.compile(r"(?<![\w\-.])(?:mme|mlle|mr|dr)\.? (?P<name>[a-zà-ÿ]{3,}(?:-[a-zà-ÿ]{3,})?)(?!\w)")
"""In texts without any capitals."""
ALL_LOWER_HINTS = (" mme ", " mr ", " dr ")
AFTER_WORD = re.compile(
    rf"(?<![\w-])(?:née|NÉE|NEE|Née|Nee|[sS]oussignée?(?:\(e\))?,?|épouse|veuve){SPACE}"
    rf"(?:(?:M\.|Mme|Dr|Docteur){SPACE})?(?=[{UPPER}])"
)
AFTER_WORD_HINTS = (re.compile(r"oussigné"), re.compile(rf"N[éÉE][eE]{SPACE}[{UPPER}]"))
