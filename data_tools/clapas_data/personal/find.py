"""All detectors over one text, and which of two findings stands where they overlap."""

from __future__ import annotations

from collections.abc import Collection

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

_DETECTORS: tuple[Detector, ...] = (
    find_email, find_iban, find_nir, find_rpps, find_card, find_ipp, find_phone, find_named_phone, find_ip, find_birth_date, find_address, find_person
)
"""Surest first: where two findings overlap, the earlier detector's stands."""
_NEED_LONG_NUMBER = frozenset({find_iban, find_nir, find_rpps, find_card, find_phone, find_named_phone})


def find(text: str, kinds: Collection[Kind] = KINDS) -> list[Finding]:
    """Personal data of `kinds` in a text, in its order, none overlapping another.

    Detectors of other kinds run too where their findings would be taken for one of `kinds` (a NIR for a telephone number).
    """
    found: list[Finding] = []
    has_long_number = LONG_NUMBER.search(text) is not None
    for detector in _DETECTORS:
        if has_long_number or detector not in _NEED_LONG_NUMBER:
            found.extend(detector(text))
    return [finding for finding in without_overlaps(found) if finding.kind in kinds]


def without_overlaps(found: list[Finding]) -> list[Finding]:
    """Findings in the text's order; of two that overlap, the one that is earlier in `found` stands."""
    if len(found) < 2:
        return found
    kept: list[Finding] = []
    for finding in found:
        if all(finding.stop <= other.start or other.stop <= finding.start for other in kept):
            kept.append(finding)
    return sorted(kept, key=lambda finding: finding.start)
