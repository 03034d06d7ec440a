"""The numbers that a piece of text may stand for, as people write them in French and in English. No rounding.

"1 234,5" (any kind of space), "1,234.5", "1.234,5", "1'234.5", "−3", "2/3", "1 1/2", "½", "\\frac{2}{3}", "12 %",
"3,2 × 10^4", "1e-3", "42 €". What two habits read differently has both readings: "1,234" is 1234 and 1.234.

Sums, products and quotients that come out whole are no numbers: who answers "12 + 30" or "84/7" has not computed.
"""

from __future__ import annotations

import re
from fractions import Fraction

SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t"
MINUSES = "\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d"
VULGAR = {
    **{"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5"},
    **{"⅙": "1/6", "⅚": "5/6", "⅐": "1/7", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10"},
}
LARGEST_POWER = 400
"""Of ten, in scientific notation: beyond what a double holds nobody means a number."""

_ONE_KIND = str.maketrans(
    dict.fromkeys(SPACES, " ") | dict.fromkeys(MINUSES, "-") | {"\u2044": "/", "\u2215": "/", "\u2019": "'"}
)
_PLAIN = r"\d{1,3}(?:[ ,.']\d{3})+(?:[.,]\d+(?: \d{1,3})*)?|\d+(?:[.,]\d+(?: \d{3})*(?: \d{1,2}(?!\d))?)?|[.,]\d+"
_POWER = r"(?: ?(?:×|x|\*|·) ?10 ?\^ ?\(?\{?(?P<power>[+-]?\d{1,4})\}?\)?|[eE](?P<exponent>[+-]?\d{1,4}))?"
_NUMBER = re.compile(rf"(?P<plain>{_PLAIN}){_POWER}")
_LITERAL = re.compile(
    rf"(?P<sign>[+-]?) ?(?:(?P<whole>\d+) (?=\d+ ?/ ?\d))?(?P<top>(?:{_PLAIN})(?:{_POWER}))"
    rf"(?: ?/ ?(?P<bottom>{_PLAIN}))? ?(?P<unit>%|pour ?cent|[^\W\d_€$£°%][^\d=+*/^<>()]*|[€$£°][^\d=+*/^<>()]*)?"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_VULGAR = re.compile(rf"(\d?) ?([{''.join(VULGAR)}])")
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\s*\{([^{}]*)\}")
_LATEX = re.compile(r"\\[,;:! ]|\\(?:left|right|quad|displaystyle)(?![a-zA-Z])")
_RELATION = re.compile(r"=|≈|≃|\\(?:approx|simeq)(?![a-zA-Z])")


def readings(text: str) -> frozenset[Fraction]:
    """Every number that the whole text may stand for, a unit or an equation's left side apart; empty for none."""
    plain = _RELATION.split(plain_text(text))[-1].strip()
    found = _LITERAL.fullmatch(plain)
    return frozenset() if found is None else _values(found)


def numbers_in(text: str) -> list[str]:
    """The numbers in a text as they are written there, from left to right."""
    plain = plain_text(text)
    starts = re.finditer(r"(?:(?<![\w.,])[+-] ?)?(?<![\w])(?=[.,]?\d)", plain)
    found: list[str] = []
    end = 0
    for start in starts:
        if start.start() < end:
            continue
        literal = _LITERAL.match(plain, start.start())
        if literal is None:
            continue
        stop = literal.end("bottom") if literal["bottom"] else literal.end("top")
        if re.match(r" ?(?:%|pour ?cent)", plain[stop:]):
            stop = plain.index("%" if "%" in plain[stop : stop + 2] else "cent", stop)
            stop += 1 if plain[stop] == "%" else 4
        found.append(plain[literal.start() : stop])
        end = stop
    return found


def plain_text(text: str) -> str:
    """The text with one kind of space and of minus, without LaTeX's and Markdown's dress and the full stop."""
    plain = text.translate(_ONE_KIND)
    plain = _VULGAR.sub(lambda m: f"{m[1]} {VULGAR[m[2]]}" if m[1] else VULGAR[m[2]], plain)
    plain = plain.replace("{,}", ",").replace("\\%", "%").replace("\\times", "×").replace("\\cdot", "·")
    plain = _FRACTION.sub(lambda m: f"{m[1] or m[2] or ''}/{m[3] or m[4] or ''}", plain)
    plain = _WRAPPED.sub(r" \1", plain)
    plain = _LATEX.sub(lambda m: " " if m[0] in ("\\,", "\\;", "\\:", "\\ ") else "", plain)
    plain = re.sub(r"\\[()\[\]]|\*\*|`", "", plain).replace("\\$", "€").replace("$", "")
    return re.sub(r"[ \n]+", " ", plain).strip().rstrip(".!;: ").strip()


def _values(found: re.Match[str]) -> frozenset[Fraction]:
    tops = _powered(found["top"])
    bottoms = _plain_values(found["bottom"]) if found["bottom"] else None
    values: set[Fraction] = set()
    for top in tops:
        for value in (top,) if bottoms is None else _quotients(top, bottoms):
            whole = Fraction(int(found["whole"])) if found["whole"] else Fraction(0)
            values.add(-(whole + value) if found["sign"] == "-" else whole + value)
    unit = (found["unit"] or "").replace(" ", "")
    if unit in ("%", "pourcent"):
        values |= {value / 100 for value in values}
    return frozenset(values)


def _quotients(top: Fraction, bottoms: frozenset[Fraction]) -> list[Fraction]:
    """Those that are fractions: one that comes out whole was not computed."""
    return [top / bottom for bottom in bottoms if bottom and (top / bottom).denominator > 1]


def _powered(written: str) -> frozenset[Fraction]:
    found = _NUMBER.fullmatch(written)
    if found is None:
        return frozenset()
    power = int(found["power"] or found["exponent"] or 0)
    if abs(power) > LARGEST_POWER:
        return frozenset()
    return frozenset(value * Fraction(10) ** power for value in _plain_values(found["plain"]))


def _plain_values(written: str) -> frozenset[Fraction]:
    """The values of digits with separators: as a French hand means them, and as an English one does."""
    found: set[Fraction] = set()
    for decimal, thousands in ((",", " .'"), (".", " ,'")):
        whole, _, rest = written.partition(decimal)
        digits = rest.replace(" ", "")
        if (decimal in written and not digits.isdigit()) or not _is_grouped(whole, thousands):
            continue
        whole = "".join(character for character in whole if character.isdigit())
        found.add(Fraction(f"{whole or 0}.{digits or 0}"))
    return frozenset(found)


def _is_grouped(whole: str, separators: str) -> bool:
    """Whether digits are all together, or in threes with one of the separators."""
    return (
        whole == ""
        or whole.isdigit()
        or any(re.fullmatch(rf"\d{{1,3}}(?:{re.escape(separator)}\d{{3}})+", whole) for separator in separators)
    )
