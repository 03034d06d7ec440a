"""Numbers as documents state them, read back: a check believes what stands on the page, not what wrote it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clapas.release.documents.words import SUPERSCRIPTS, Language

NUMBER = r"\d[\d\u202f\u00a0,.]*"
EQUATION = re.compile(
    rf"(?P<a>{NUMBER})\s(?P<of>kWh|h) × (?P<b>{NUMBER})(?:\s(?P<per>g/kWh|W))? = (?P<c>{NUMBER})\s(?P<unit>kWh|kg)"
)
POWER = re.compile(rf"(?P<mantissa>{NUMBER})\s×\s10(?P<exponent>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
ROUNDING = 0.006
"""By how much an amount written to three significant figures may differ from it."""
DIGITS = {chr(sign): chr(digit) for digit, sign in SUPERSCRIPTS.items()}


def read_number(text: str, language: Language) -> float:
    """A number in French (1 234,5) or English (1,234.5) writing."""
    digits = re.sub("[\u202f\u00a0 ]", "", text)
    digits = digits.replace(",", ".") if language == "fr" else digits.replace(",", "")
    return float(digits.rstrip("."))


def read_powers(text: str, language: Language) -> list[float]:
    """Every number with a power of ten: 3,80 × 10¹³."""
    return [
        read_number(found["mantissa"], language) * 10.0 ** int("".join(DIGITS[sign] for sign in found["exponent"]))
        for found in POWER.finditer(text)
    ]


@dataclass(frozen=True, slots=True)
class Equation:
    """A product that a document states. kind: what it is of: `estimate`, `site`, `emissions`."""

    kind: str
    left: float
    factor: float
    product: float
    text: str

    @property
    def scale(self) -> float:
        """What the two are multiplied by beside each other."""
        return 1.0 if self.kind == "site" else 1e-3

    @property
    def is_right(self) -> bool:
        """Whether the product is what is said, to one in two hundred: its figures are rounded to four digits."""
        return abs(self.left * self.factor * self.scale - self.product) <= 0.005 * abs(self.product)


def read_equations(text: str, language: Language) -> dict[str, Equation]:
    """The equations of a page, by kind."""
    kinds = {"g/kWh": "emissions", "W": "estimate", None: "site"}
    found = {}
    for match in EQUATION.finditer(text):
        a, b, c = (read_number(match[name], language) for name in "abc")
        kind = kinds[match["per"]]
        found[kind] = Equation(kind, a, b, c, match[0])
    return found
