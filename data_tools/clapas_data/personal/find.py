"""All detectors over one text, and which of two findings stands where they overlap."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from clapas_data.personal.address import find_address
from clapas_data.personal.bank import find_card, find_iban
from clapas_data.personal.birth import find_birth_date
from clapas_data.personal.email import find_email
from clapas_data.personal.finding import KINDS, LONG_NUMBER, Detector, Finding, Kind
from clapas_data.personal.ip import find_ip
from clapas_data.personal.nir import find_nir
from clapas_data.personal.patient import find_ipp
from clapas_data.personal.person import find_person
from clapas_data.personal.phone import find_named_phone, find_phone
from clapas_data.personal.professional import find_rpps

_NEAR_LONG_NUMBERS: tuple[Detector, ...] = (find_iban, find_nir, find_rpps, find_card, find_phone, find_named_phone)
"""Run only around digits in a row; surest first."""
_ANYWHERE: tuple[Detector, ...] = (find_ipp, find_ip, find_birth_date, find_address, find_person)
_WINDOW = 80
"""Characters around a long number that say what it is."""


def find(text: str, kinds: Collection[Kind] = KINDS) -> list[Finding]:
    """Personal data of `kinds` in a text, in its order, none overlapping another.

    Where two findings overlap, the surer detector's stands. Detectors of other kinds run too: a NIR that is to be left
    is not to be taken for a telephone number.
    """
    found = [*find_email(text)]
    if LONG_NUMBER.search(text):
        for start, stop in _windows(text):
            part = text[start:stop]
            for detector in _NEAR_LONG_NUMBERS:
                found += [Finding(kind, start + first, start + last) for kind, first, last in detector(part)]
    for detector in _ANYWHERE:
        found += detector(text)
    if not found:
        return found
    return [finding for finding in without_overlaps(found) if finding.kind in kinds]


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Where the long numbers of a text stand, with what is around them; windows that touch are one."""
    start = stop = 0
    for run in LONG_NUMBER.finditer(text):
        if run.start() - _WINDOW > stop:
            if stop:
                yield start, stop
            start = run.start() - _WINDOW
        stop = run.end() + _WINDOW
    yield start, stop


def without_overlaps(found: list[Finding]) -> list[Finding]:
    """Findings in the text's order; of two that overlap, the one that is earlier in `found` stands."""
    if len(found) < 2:
        return found
    taken = bytearray(max(finding.stop for finding in found))  # a byte a character: a list of contacts has millions
    kept: list[Finding] = []
    for finding in found:
        if taken.find(1, finding.start, finding.stop) < 0:
            taken[finding.start : finding.stop] = b"\1" * (finding.stop - finding.start)
            kept.append(finding)
    return sorted(kept, key=_start)


def _start(finding: Finding) -> int:
    return finding.start
