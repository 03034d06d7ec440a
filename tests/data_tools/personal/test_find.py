"""What is found in which form, and what only looks like it: one line each, as a writer would write it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clapas_data.personal.checksums import IBAN_LENGTHS, iban_remainder, nir_key, passes_iban, passes_luhn
from clapas_data.personal.find import find, without_overlaps
from clapas_data.personal.finding import Finding, Kind

FOUND: dict[str, tuple[Kind, str]] = {
    "tél 06 12 34 56 78.": ("phone", "06 12 34 56 78"),
    "au 06.12.34.56.78, ou": ("phone", "06.12.34.56.78"),
    "au 06\u202f12\u202f34\u202f56\u202f78": ("phone", "06\u202f12\u202f34\u202f56\u202f78"),
    "06 12\n34 56 78": ("phone", "06 12\n34 56 78"),
    "O6 12 34 56 78": ("phone", "O6 12 34 56 78"),
    "Standard : +33 (0)4 67 14 30 30": ("phone", "+33 (0)4 67 14 30 30"),
    "(+33) 6 12 34 56 78": ("phone", "(+33) 6 12 34 56 78"),
    "0033612345678": ("phone", "0033612345678"),
    "GSM 0692 81 70 60": ("phone", "0692 81 70 60"),
    "+262 692 81 70 60": ("phone", "+262 692 81 70 60"),
    "+687 25.67.89": ("phone", "+687 25.67.89"),
    "Tél. : 25.67.89": ("phone", "25.67.89"),
    "appelez +32 2 555 12 12": ("phone", "+32 2 555 12 12"),
    "Ecrire à Prénom.Nom@chu-x.fr.": ("email", "Prénom.Nom@chu-x.fr"),
    "nom [at] chu-x.fr": ("email", "nom [at] chu-x.fr"),
    "CFDT, info @ cfdt. fr ;": ("email", "info @ cfdt. fr"),
    "paul point petit arobase free point fr": ("email", "paul point petit arobase free point fr"),
    "Failed from 45.83.64.11 port": ("ip", "45.83.64.11"),
    "via 2a01:e0a:2b3::1 puis": ("ip", "2a01:e0a:2b3::1"),
    "::ffff:45.83.64.11": ("ip", "::ffff:45.83.64.11"),
    "NIR 2 55 08 14 168 025 38": ("nir", "2 55 08 14 168 025 38"),
    "x 255081416802538 x": ("nir", "255081416802538"),
    "Corse 1 47 02 2A 004 117 33": ("nir", "1 47 02 2A 004 117 33"),
    "n° de sécurité sociale : 2 55 08 14 168 025": ("nir", "2 55 08 14 168 025"),
    "Matricule INS : 255081416802538": ("ins", "255081416802538"),
    "255081416802538 (1.2.250.1.213.1.4.8)": ("ins", "255081416802538"),
    "IBAN FR14 2004 1010 0505 0001 3M02 606.": ("iban", "FR14 2004 1010 0505 0001 3M02 606"),
    "be68539007547034": ("iban", ""),
    "BE68539007547034 Merci": ("iban", "BE68539007547034"),
    "carte 4970 1012 3456 7893": ("card", "4970 1012 3456 7893"),
    "née à Lyon le 12 mars 1961": ("birth_date", "12 mars 1961"),
    "DDN : 12.03.61": ("birth_date", "12.03.61"),
    "Date et lieu de naissance : 1er mai 1950 à Nîmes": ("birth_date", "1er mai 1950"),
    "RPPS 10 00 12 34 567": ("rpps", "10 00 12 34 567"),
    "ADELI : 34 1 23456 7": ("rpps", "34 1 23456 7"),
    "IPP n° 0800412345": ("ipp", "0800412345"),
    "N° de séjour : 24-0117856": ("ipp", "24-0117856"),
    "dossier n° 2024-12345 du service de cardiologie, CHU": ("ipp", "2024-12345"),
    "habite 14 bis, rue des Tanneurs\n34000 Montpellier.": ("address", "14 bis, rue des Tanneurs\n34000 Montpellier"),
    "au 12 rue des lilas": ("address", "12 rue des lilas"),
    "8 rue du 8 Mai 1945, 34110 Frontignan": ("address", "8 rue du 8 Mai 1945, 34110 Frontignan"),
    "Mme le Dr Claire Martin a": ("person", "Claire Martin"),
    "M. Le Goff": ("person", "Le Goff"),
    "Monsieur DE LA TOUR, notaire": ("person", "DE LA TOUR"),
    "le dr. J.-P. Aït-Ahmed": ("person", "J.-P. Aït-Ahmed"),
    "Nom de naissance : KERVELLA": ("person", "KERVELLA"),
    "Prénoms : Jean, Marie": ("person", "Jean, Marie"),
    "Nom : Martin Spécialisation : cœur": ("person", "Martin"),
}

LEFT = (
    "articles L. 1221-1, R. 4127-112 et D. 162-1-6 ; loi n° 2017-1340 du 22 septembre 2017",
    "NOR : JUSX7700082L, JORF n° 0223, CELEX 32016R0679, ECLI:FR:CCASS:2023:SO00145, pourvoi n° 06-12.345",
    "SIRET 732 829 320 00074, SIREN 732829320, SIRET 01234567800012, TVA FR 44 732829320, FINESS 340780477",
    "12 345 678,00 €, 0,612345678, 1 500 000 F, 45 071 865",
    "le 12 mars 2024 à 18 h 30, du 01/01/2020 au 31/12/2026",
    "nés avant le 1er janvier 1951, nés au plus tard le 1er mai 1950, nés : 1er mai 1951 – 30 juin 1956",
    "0 810 25 34 10, le 3919, 0892 70 12 39, +33 8 10 25 34 10",
    "01 02 03 04 05 06 07 08, nomenclature 0101 21 00 00, lot 0612345678, réf. 06.12.34.56.78-B",
    "192.168.1.12, 127.0.0.1, ::1, 192.0.2.10, 255.255.255.0, version 10.4.2.1, chapitre 102.1.2.3, a::b::c, 08:15:42",
    "IPP de 15 %, IPP 40 mg, ISBN 978-2-07-036822-8, EAN 3274080005003, code 1 85 05 78 006 084",
    "M. le préfet, Mme la Présidente, Monsieur le Maire, M. X..., Mme A... B..., maître d'ouvrage, docteur en médecine",
    "371 avenue du Doyen Gaston Giraud, 34295 Montpellier Cedex 5 ; 3 places, 10 cours de gym, avenue du Docteur Roux",
    "Nom du salarié : Emploi occupé : Semaine n° du ; Nom : Prénom : Adresse :",
    "Guinée Équatoriale, ANNÉE DE SURVENANCE, uploads/2022/07/26062022, 0 3 – 2 – 1 – 0 3 – 2 – 1 – 0 3",
    "Madame, Monsieur,\nLe dossier est clos. @marielopez34, npm i @angular/core@16.2.1",
)


@pytest.mark.parametrize("text", FOUND)
def test_found(text: str) -> None:
    """The value, whole, as its kind, and nothing else of the line."""
    kind, value = FOUND[text]
    found = [(finding.kind, text[finding.start : finding.stop]) for finding in find(text)]
    assert found == ([(kind, value)] if value else [])


@pytest.mark.parametrize("text", LEFT)
def test_left_alone(text: str) -> None:
    """Legal references, identifiers of firms, amounts, dates, services' numbers, private addresses, offices."""
    assert [text[finding.start : finding.stop] for finding in find(text)] == []


def test_kinds_that_are_not_asked_for_are_no_others() -> None:
    """A NIR that is to be left is not taken for a telephone number; the rest is found as before."""
    text = "NIR 2 55 08 14 168 025 38, tél. 06 12 34 56 78"
    assert [finding.kind for finding in find(text)] == ["nir", "phone"]
    assert [finding.kind for finding in find(text, {"phone"})] == ["phone"]


def test_real_guides(guides: list[str]) -> None:
    """4.6 MB of guides to labour law: telephone numbers and addresses of offices are found, and nothing else."""
    found = [(finding.kind, text[finding.start : finding.stop]) for text in guides for finding in find(text)]
    phones = {value for kind, value in found if kind == "phone"}
    addresses = {value for kind, value in found if kind == "address"}
    assert len(found) == len([1 for kind, _ in found if kind in ("phone", "address")])
    assert {value.replace(" ", "")[:2] for value in phones} <= {"01", "06", "09"}
    assert all("750" in value or "753" in value for value in addresses)
    assert (len(phones), len(addresses)) == (7, 4)


HOSTILE = (
    "1", "1 ", "06 ", "06  ", "1\n", "1.", "a@", "Mme ", "M. A. ", "M. Aa ", "Nom : ", "1 rue A ", "FR76 ", "+1", ":a",
    "né le ", "naissance : ", "Tél ", "n° dossier ", " at ", "(a) ", "- ", "2 58 11 34 172 045 ", "A-",
    "MM. Aa, ", "RPPS ", "O6 ", " ",
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_takes_long(piece: str) -> None:
    """40,000 characters of the same: what is quadratic takes seconds, what is linear a tenth of one."""
    text = (piece * 40_000)[:40_000] + "1"
    began = time.process_time()
    find(text)
    assert time.process_time() - began < 1.5


def test_checks() -> None:
    """Keys as published: INSEE's and SWIFT's examples, a card network's test number."""
    assert nir_key("2550814168025") == 38
    assert nir_key("147022A004117") == 97 - (1470219004117 % 97)
    assert nir_key("147022B004117") == 97 - (1470218004117 % 97)
    assert passes_iban("FR1420041010050500013M02606")
    assert not passes_iban("FR1420041010050500013M02607")
    assert not passes_iban("FR142004101005050001302606")
    assert iban_remainder("GB82WEST12345698765432") == 1
    assert passes_luhn("4111111111111111")
    assert not passes_luhn("4111111111111112")
    assert all(15 <= length <= 34 for length in IBAN_LENGTHS.values())


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=12))
def test_of_findings_that_overlap_the_earlier_told_stands(places: list[tuple[int, int]]) -> None:
    """As compared one by one; in the text's order."""
    found = [Finding("ip", start, start + size) for start, size in places]
    kept: list[Finding] = []
    for one in found:
        if all(one.stop <= other.start or other.stop <= one.start for other in kept):
            kept.append(one)
    assert without_overlaps(found) == sorted(kept, key=lambda finding: finding.start)
