"""Surrogates: invented values of the same form, the same for the same value within a document.

Chosen by HMAC-SHA-256 of key, document, kind and value: nobody without the key can go back, and two documents cannot be
linked by them. None can be somebody's: numbers come from ranges kept for fiction or documentation, or fail a check.

Ranges: telephone ARCEP's (décision 2018-0881, annexe: 01 99 00, 02 61 91, 03 53 01, 04 65 71, 05 36 49, 06 39 98 for
works of fiction); addresses RFC 5737 and 3849; domains RFC 2606; NIR with town 000, which no department has.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from clapas_data.personal.birth import MONTHS
from clapas_data.personal.checksums import iban_remainder, luhn_sum, nir_key
from clapas_data.personal.finding import Kind, digits_of

_FICTION = {
    "1": "19900", "2": "26191", "3": "35301", "4": "46571", "5": "53649", "6": "63998", "7": "63998", "9": "19900"
}  # fmt: skip
"""ARCEP's ranges for fiction, by the digit after 0; four digits follow. 07 and 09 have none of their own."""
_GIVEN = (
    "Alix", "Andréa", "Ange", "Camille", "Céleste", "Charlie", "Claude", "Dominique", "Eden", "Gaby", "Lou", "Maé",
    "Morgan",
    "Noa", "Sacha", "Swann", "Yaël", "Zoé",
)  # fmt: skip
"""Given to women and men alike, mostly: "Mme" and "M." stay before them."""
_FAMILY = (
    "Aubertin", "Belloc", "Cassagne", "Delmas", "Estève", "Fabrègue", "Garrigue", "Hébrard", "Isnard", "Jourdan",
    "Lacombe",
    "Maurel", "Nogaret", "Olivier", "Pagès", "Quérol", "Rouquette", "Sabatier", "Teissier", "Ursule", "Valette",
    "Azéma",
    "Bousquet", "Combes", "Durand", "Escande", "Ferrand", "Galtier", "Lavergne", "Mazel",
)  # fmt: skip
_FLOWERS = (
    "Acacias", "Bleuets", "Camélias", "Genêts", "Iris", "Jonquilles", "Lilas", "Mimosas", "Narcisses", "Orchidées",
    "Pervenches", "Tilleuls",
)  # fmt: skip
_TOWNS = ("Saint-Exemple", "Villefeinte", "Montfictif", "Bourg-Imaginaire", "Roquesonge", "Fontinventée")


@dataclass
class Surrogates:
    """Writes the surrogates of one document. key: see key.py."""

    key: bytes
    document: str
    _written: dict[tuple[Kind, str], str] = field(default_factory=dict)

    def __call__(self, kind: Kind, value: str) -> str:
        """The surrogate of a value of a kind."""
        return getattr(self, f"_{kind}")(value)

    def _draw(self, kind: str, value: str, below: int, place: int = 0) -> int:
        """A number under `below`, decided by key, document, kind and value."""
        said = "\0".join((self.document, kind, str(place), value))
        return int.from_bytes(hmac.digest(self.key, said.encode("utf-8", "surrogatepass"), hashlib.sha256)[:8]) % below

    def _digits(self, kind: str, value: str, count: int) -> str:
        return str(self._draw(kind, value, 10**count)).zfill(count)

    def _phone(self, value: str) -> str:
        digits = digits_of(value)
        national = re.sub(r"^(?:0033|33|0)0?", "", digits)
        if not re.fullmatch(r"(?:\(?\s?\+\s?33|\(?00\s?33|0|O)[\s\S]*", value) or len(national) != 9:
            drawn = self._digits("phone", digits, 4)
            return f"+33 6 39 98 {drawn[:2]} {drawn[2:]}"
        fiction = _FICTION.get(national[0], "63998") + self._digits("phone", national, 4)
        return _filled(value, digits[: len(digits) - 9] + fiction)

    def _email(self, value: str) -> str:
        at = re.search(r"\s?[\[({<]?\s?(?:@|\bat\b|\barobase?\b|_at_)\s?[\])}>]?\s?", value, re.IGNORECASE)
        plain = value.casefold()
        name = f"{self._pick('email', plain, _GIVEN)}.{self._pick('email', plain, _FAMILY, 1)}"
        number = self._draw("email", plain, 90, 2) + 10
        return f"{_plain(name)}{number}{at[0] if at else '@'}example.org"

    def _ip(self, value: str) -> str:
        if ":" in value:
            return f"2001:db8::{self._draw('ip', value.lower(), 65536):x}:{self._draw('ip', value.lower(), 65536, 1):x}"
        network = ("192.0.2", "198.51.100", "203.0.113")[self._draw("ip", value, 3)]
        return f"{network}.{self._draw('ip', value, 254, 1) + 1}"

    def _nir(self, value: str) -> str:
        characters = "".join(filter(str.isalnum, value)).upper().replace("CLÉ", "").replace("CLE", "").replace("O", "0")
        drawn = self._digits("nir", characters, 12)
        year, month, department = drawn[:2], int(drawn[2:5]) % 12 + 1, int(drawn[5:8]) % 95 + 1
        body = f"{characters[0]}{year}{month:02}{department:02}000{drawn[8:11]}"
        key = f"{nir_key(body):02}" if len(characters) > 13 else ""
        return _filled(value, body + key, letters=True)

    _ins = _nir

    def _iban(self, value: str) -> str:
        characters = "".join(filter(str.isalnum, value)).upper()
        bban = "00000" + "".join(
            character if character.isalpha() else str(self._draw("iban", characters, 10, place))
            for place, character in enumerate(characters[9:])
        )
        check = 98 - iban_remainder(characters[:2] + "00" + bban)
        return _filled(value, f"{characters[:2]}{check:02}{bban}", letters=True)

    def _card(self, value: str) -> str:
        return _filled(value, self._failing_luhn("card", digits_of(value), 4))

    def _rpps(self, value: str) -> str:
        return _filled(value, self._failing_luhn("rpps", digits_of(value), 2))

    def _failing_luhn(self, kind: str, digits: str, kept: int) -> str:
        """Other digits after the first `kept`, whose check digit is wrong: nobody's number."""
        body = digits[:kept] + self._digits(kind, digits, len(digits) - kept)
        return body if luhn_sum(body) else body[:-1] + str((int(body[-1]) + 1) % 10)

    def _ipp(self, value: str) -> str:
        return _filled(value, self._digits("ipp", value, sum(map(str.isdigit, value))))

    def _address(self, value: str) -> str:
        plain = " ".join(value.casefold().split())
        number = self._draw("address", plain, 98) + 1
        street = f"{number} rue des {self._pick('address', plain, _FLOWERS, 1)}"
        if not re.search(r"\d{2}\s?\d{3}(?!\d)", value):
            return street
        return f"{street}, 99{self._digits('address', plain, 3)} {self._pick('address', plain, _TOWNS, 2)}"

    def _birth_date(self, value: str) -> str:
        """Another day of the same year: ages stay right to a year."""
        numbers = re.findall(r"\d+", value)
        day, month = self._draw("birth_date", value, 28) + 1, self._draw("birth_date", value, 12, 1)
        year = max(numbers, key=len) if len(numbers) > 1 else numbers[0][-4:]
        if re.search(r"[^\W\d_]{3}", value):
            year = numbers[-1]
            return f"{day} {MONTHS[month]} {year}"
        if len(numbers) == 1:
            return f"{day:02}{month + 1:02}{year}"
        if len(numbers[0]) == 4:
            return _filled(value, f"{year}{month + 1:02}{day:02}")
        return re.sub(r"^\d+(\D+)\d+", rf"{day:02}\g<1>{month + 1:02}", value)

    def _person(self, value: str) -> str:
        """Word by word, so that "Claire Martin" and "Mme Martin" go on as one person."""
        words = re.findall(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*\.?", value)
        names = [word for word in words if len(word) > 2 or word.isupper()]
        written = []
        for place, word in enumerate(names):
            is_given = len(names) > 1 and place == 0 and not (word.isupper() and not names[-1].isupper())
            is_given |= len(names) > 1 and place == len(names) - 1 and names[0].isupper() and not word.isupper()
            name = self._pick("given" if is_given else "family", word.casefold(), _GIVEN if is_given else _FAMILY)
            written.append(
                f"{name[0]}." if word.endswith(".") else name.upper() if word.isupper() and len(word) > 1 else name
            )
        return " ".join(written[:3]) or self._pick("family", value.casefold(), _FAMILY)

    def _pick(self, kind: str, value: str, among: tuple[str, ...], place: int = 0) -> str:
        return among[self._draw(kind, value, len(among), place)]


def _filled(form: str, characters: str, letters: bool = False) -> str:
    """`characters` in the places of a form's digits (and letters); what is left over goes to the end."""
    rest = iter(characters)
    written = [next(rest, "") if each.isdigit() or (letters and each.isalnum()) else each for each in form]
    return "".join(written) + "".join(rest)


def _plain(name: str) -> str:
    return name.lower().translate(str.maketrans("éèêëàâîïôûüç", "eeeeaaiiouuc"))
