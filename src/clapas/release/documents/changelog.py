"""`CHANGELOG.md`: what each version of the model changed, in people's words, newest first."""

from __future__ import annotations

from clapas.release.documents import words
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import block, plain
from clapas.release.documents.words import Language, either

FILE = "CHANGELOG.md"


def documents(facts: Facts) -> dict[str, bytes]:
    """French, then English."""
    told = [f"# {plain(facts.answers.model.name)}\n", words.typeset(_versions(facts, "fr")), _versions(facts, "en")]
    return {FILE: "\n".join(told).encode()}


def _versions(facts: Facts, to: Language) -> str:
    newest_first = sorted(facts.answers.changes, key=lambda change: change.date, reverse=True)
    versions = [
        f"### {plain(change.version)} ({words.date(change.date, to)})\n\n{block(change.changes.said(to), 4)}\n"
        for change in newest_first
    ]
    return "\n".join([either(to, "## Versions", "## Versions, in English") + "\n", *versions])
