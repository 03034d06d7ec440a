"""All documents of a release: file name -> content, each a function of its facts alone."""

from __future__ import annotations

from collections.abc import Callable

from clapas.release.documents.facts import Facts

Documents = Callable[[Facts], dict[str, bytes]]


def writers() -> tuple[Documents, ...]:
    """The modules that write documents, loaded when asked for: some need libraries of the extra `release`."""
    from clapas.release.documents import (
        bom,
        changelog,
        citation,
        croissant,
        data_card,
        eval_results,
        images,
        notice,
        privacy,
        verify_md,
    )
    from clapas.release.documents.card import card
    from clapas.release.documents.model_form import form
    from clapas.release.documents.training_content import summary

    modules = (card, images, eval_results, citation, changelog, notice, verify_md)
    modules += (summary, form, data_card, croissant, bom, privacy)
    return tuple(module.documents for module in modules)


def render_all(facts: Facts) -> dict[str, bytes]:
    """Every document. Raises UserError where a library that one needs is not installed."""
    found: dict[str, bytes] = {}
    for write in writers():
        found |= write(facts)
    return found
