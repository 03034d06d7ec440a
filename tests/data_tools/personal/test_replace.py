"""Replaced text: nothing is left to find, the rest stands; surrogates keep the form and hold nobody's data."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clapas_data.personal.checksums import luhn_sum, nir_key, passes_iban
from clapas_data.personal.find import find
from clapas_data.personal.finding import digits_of
from clapas_data.personal.replace import PLACEHOLDERS, replace
from clapas_data.personal.surrogates import Surrogates

KEY = b"0123456789abcdef0123456789abcdef"
VALUES = {
    "phone": ["06 12 34 56 78", "+33 (0)4 67 14 30 30", "0692.81.70.60", "+32 2 555 12 12"],
    "email": ["jean.dupont@orange.fr", "nom [at] chu-x.fr"],
    "ip": ["45.83.64.11", "2a01:e0a:2b3::1"],
    "nir": ["2 55 08 14 168 025 38", "147022A00411733"],
    "iban": ["FR14 2004 1010 0505 0001 3M02 606", "BE68539007547034"],
    "card": ["4970 1012 3456 7893"],
    "birth_date": ["12/03/1961", "12 mars 1961", "1961-03-12", "1er mai 1950", "12.03.61"],
    "rpps": ["10 00 12 34 567"],
    "ipp": ["24-0117856"],
    "address": ["14 bis, rue des Tanneurs\n34000 Montpellier", "12 rue des lilas"],
    "person": ["Claire MARTIN", "Dupont", "J. Durand"],
}
PIECES = (
    "Mme Claire Martin", "née le 12/03/1961", "06 12 34 56 78", "+33 6 12 34 56 78", "a.b@chu-x.fr",
    "NIR 2 55 08 14 168 025 38", "RPPS 10001234567",
    "IPP 0800412345", "12 rue Foch, 34000 Montpellier", "45.83.64.11", "FR1420041010050500013M02606",
    "4970 1012 3456 7893", "article L. 1221-1",
    "n° 2017-1340", "SIRET 732 829 320 00074", "le 3 mai 2002", "M. X...", "l'été, à Sète", "Tél.", ":", "0", "1",
    "-", "@", "Nom :", "né",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([" ", "\n", ", ", " ; ", ""])), max_size=14))
def test_nothing_is_left_and_the_rest_stands(pieces: list[tuple[str, str]]) -> None:
    """Whatever stands beside what: findings are in order and apart, and no digit of a number survives at its edge."""
    text = "".join(word + end for word, end in pieces)
    findings = find(text)
    stops = [0, *(finding.stop for finding in findings)]
    assert all(stop <= finding.start < finding.stop for stop, finding in zip(stops, findings, strict=False))
    outside = re.split("|".join(map(re.escape, PLACEHOLDERS.values())), replace(text, findings))
    assert len(outside) == len(findings) + 1
    assert (
        "".join(outside)
        == "".join(text[stop : finding.start] for stop, finding in zip(stops, findings, strict=False))
        + (text[stops[-1] :])
    )


def test_a_letter() -> None:
    """Each value gives way to the placeholder of its kind, and looking again finds nothing."""
    text = (
        "Mme Claire Martin, née le 12/03/1961, NIR 2 55 08 14 168 025 38, habite 12 rue Foch,\n34000 Montpellier\n"
        "(06 12 34 56 78, claire@orange.fr). IPP 0800412345. IBAN FR14 2004 1010 0505 0001 3M02 606."
        " Article L. 1111-4.\nDr Roux, RPPS 10001234567"
    )
    replaced = replace(text, find(text))
    assert replaced == (
        "Mme <PERSONNE>, née le <DATE_DE_NAISSANCE>, NIR <NIR>, habite <ADRESSE>\n"
        "(<TÉLÉPHONE>, <COURRIEL>). IPP <NUMÉRO_PATIENT>. IBAN <IBAN>. Article L. 1111-4.\n"
        "Dr <PERSONNE>, RPPS <RPPS>"
    )
    assert find(replaced) == []


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in VALUES.items() for value in values])
def test_surrogates_keep_the_form(kind, value: str) -> None:
    """Another value of the same form; the same again in the document; others with another document or key."""
    made = {Surrogates(KEY, f"document {number}")(kind, value) for number in range(40)}
    assert value not in made
    assert len(made) > 10
    first = Surrogates(KEY, "document 0")(kind, value)
    assert first == Surrogates(KEY, "document 0")(kind, value)
    assert len({Surrogates(bytes([number]) * 32, "document 0")(kind, value) for number in range(40)}) > 10
    for surrogate in made:
        assert "\n" not in surrogate
        CHECKS[kind](surrogate)


def _is_fictional(phone: str) -> None:
    digits = digits_of(phone)
    assert re.search(r"(?:19900|26191|35301|46571|53649|63998)\d{4}$", digits), phone


def _is_documentation(address: str) -> None:
    assert not ipaddress.ip_address(address).is_global


def _is_in_no_town(nir: str) -> None:
    characters = "".join(filter(str.isalnum, nir))
    assert characters[7:10] == "000"
    assert int(characters[13:]) == nir_key(characters[:13])


def _is_of_no_bank(iban: str) -> None:
    characters = iban.replace(" ", "")
    assert passes_iban(characters)
    assert characters[4:9] == "00000"


def _fails_luhn(number: str) -> None:
    assert luhn_sum(digits_of(number)) != 0


def _is_a_date(date: str) -> None:
    assert find(f"née le {date}")[0].kind == "birth_date"


def _is_invented(address: str) -> None:
    assert re.fullmatch(r"\d+ rue des \w+(?:, 99\d{3} [\w-]+)?", address)


CHECKS = {
    "phone": _is_fictional,
    "email": lambda address: address.endswith("example.org") or pytest.fail(address),
    "ip": _is_documentation,
    "nir": _is_in_no_town,
    "iban": _is_of_no_bank,
    "card": _fails_luhn,
    "rpps": _fails_luhn,
    "ipp": lambda code: re.fullmatch(r"\d\d-\d{7}", code) or pytest.fail(code),
    "birth_date": _is_a_date,
    "address": _is_invented,
    "person": lambda name: find(f"Mme {name}")[0].kind == "person" or pytest.fail(name),
}


def test_one_value_however_written() -> None:
    """A number with and without +33, a name whole and alone, go on as one within a document."""
    write = Surrogates(KEY, "lettre")
    assert digits_of(write("phone", "06 12 34 56 78"))[1:] == digits_of(write("phone", "+33 6 12 34 56 78"))[2:]
    assert write("person", "Claire MARTIN").split()[1] == write("person", "Martin").upper()
    assert write("nir", "2 55 08 14 168 025 38").replace(" ", "") == write("nir", "255081416802538")
    assert write("email", "A.B@x.fr") == write("email", "a.b@x.fr")
