"""Findings out of a text: typed placeholders, or surrogates of the same form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clapas_data.personal.finding import Finding, Kind

PLACEHOLDERS: dict[Kind, str] = {
    "nir": "<NIR>",
    "ins": "<INS>",
    "phone": "<TÉLÉPHONE>",
    "email": "<COURRIEL>",
    "ip": "<ADRESSE_IP>",
    "iban": "<IBAN>",
    "card": "<CARTE_BANCAIRE>",
    "address": "<ADRESSE>",
    "birth_date": "<DATE_DE_NAISSANCE>",
    "rpps": "<RPPS>",
    "ipp": "<NUMÉRO_PATIENT>",
    "person": "<PERSONNE>",
}
"""Not numbered: each can be one token of a tokenizer. Who must be told apart within a document is by surrogates."""

Writer = Callable[[Kind, str], str]
"""What to write in place of a value of a kind."""


def placeholder(kind: Kind, _value: str) -> str:
    """The placeholder of a kind."""
    return PLACEHOLDERS[kind]


def replace(text: str, findings: Sequence[Finding], write: Writer = placeholder) -> str:
    """The text with each finding replaced. findings: in the text's order, none overlapping another."""
    parts: list[str] = []
    done = 0
    for kind, start, stop in findings:
        parts += (text[done:start], write(kind, text[start:stop]))
        done = stop
    return "".join((*parts, text[done:]))
