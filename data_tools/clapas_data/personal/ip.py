"""Public IP addresses, which the Court of Justice holds to be personal data (C-582/14, Breyer).

Left alone: private, loopback, link-local, documentation and reserved ranges (RFC 1918, 5737, 3849, 6890), netmasks, and
four numbers that a text counts versions, chapters or articles with.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from clapas_data.personal.finding import Finding

_FOUR = re.compile(r"\d(?<![\w.+-]\d)\d{0,2}(?:\.\d{1,3}){3}(?![\w]|\.\d|-\d)")
_HINT = re.compile(r"\.\d{1,3}\.\d")
_COLONS = re.compile(r":[0-9a-fA-F]{0,4}:")
_SIX = re.compile(r"[0-9a-fA-F]{3}|(?::[0-9a-fA-F]+){4}")
"""What an address has and a time, a ratio or a name in C++ does not: three digits in a row, or five groups."""
_HEX = "0123456789abcdefABCDEF:."
_COUNTED = re.compile(
    r"(?:version|\bv|release|firmware|build|logiciel|mise à jour|num[ée]ro|chapitre|article|paragraphe|section|point"
    r"|annexe|alin[ée]a|titre|figure|tableau"
    r"|[A-Za-z]/|rubrique|partie|voir|art\.|§|n°|OID|oid"
    r"|python|java|kernel|noyau|[A-Za-z]-)s?[ \u00a0:]{0,3}(?:[A-Z]\.?)?$"
    r"|\d\.\d+\.\d+(?:,| et| à| ou)\s$",
    re.IGNORECASE,
)
_SAYS_IP = re.compile(
    r"\bIP(?:v[46])?\b|adresses?\b|\bserveur|\bh[ôo]te\b|\bping\b|\bconnexions?\b|\bconnect[ée]|\bfrom\b|\bDNS\b"
    r"|\bbann|\blogs?\b",
    re.IGNORECASE,
)
_SMALL = 40
"""Four numbers all under this are a heading or a version unless the text speaks of addresses."""


def find_ip(text: str) -> Iterator[Finding]:
    """Public IPv4 and IPv6 addresses in a text."""
    if ":" in text:
        yield from _sixes(text)
    if _HINT.search(text):
        for match in _FOUR.finditer(text):
            if _is_public(match[0]) and not _is_counting(text, match):
                yield Finding("ip", *match.span())


def _is_public(address: str) -> bool:
    """Whether an address is one that a person may have on the Internet."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_global and not found.is_multicast


def _is_counting(text: str, match: re.Match[str]) -> bool:
    """Whether four numbers count something: a version, a heading, an article."""
    before = text[max(0, match.start() - 24) : match.start()]
    if _COUNTED.search(before):
        return True
    if max(map(int, match[0].split("."))) < _SMALL:
        return not _SAYS_IP.search(text[max(0, match.start() - 60) : match.start()])
    return False


def _sixes(text: str) -> Iterator[Finding]:
    """IPv6 addresses: what stands around two near colons, if it reads as one."""
    done = 0
    for match in _COLONS.finditer(text):
        if match.start() < done:
            continue
        start, stop = match.span()
        while start > 0 and text[start - 1] in _HEX:
            start -= 1
        while stop < len(text) and text[stop] in _HEX:
            stop += 1
        done = stop
        address = text[start:stop].rstrip(".")
        if not address.endswith("::"):
            address = address.rstrip(":")
        stop = start + len(address)
        around = text[max(0, start - 1) : start] + text[stop : stop + 1]
        if _SIX.search(address) and not any(map(str.isalnum, around)) and _is_public(address):
            yield Finding("ip", start, stop)
