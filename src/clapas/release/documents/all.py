"""Every document of a release, rendered from its facts."""

from __future__ import annotations

from collections.abc import Callable

from clapas.release.documents import changelog, citation, eval_results, images
from clapas.release.documents.card import card
from clapas.release.documents.facts import Facts

DOCUMENTS: tuple[Callable[[Facts], dict[str, bytes]], ...] = (
    card.documents,
    images.documents,
    eval_results.documents,
    citation.documents,
    changelog.documents,
)


def render_all(facts: Facts) -> dict[str, bytes]:
    """Name in the release -> content. Raises UserError where a library that a document needs is not installed."""
    return {name: content for documents in DOCUMENTS for name, content in documents(facts).items()}
