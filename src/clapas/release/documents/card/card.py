"""The model card as a file: metadata, the French card, the English one; nothing that evidence or answers do not say."""

from __future__ import annotations

from clapas.release.documents import words
from clapas.release.documents.card.data import data
from clapas.release.documents.card.evaluation import evaluation
from clapas.release.documents.card.identity import at_a_glance, introduction, lineage
from clapas.release.documents.card.limits import limits
from clapas.release.documents.card.metadata import metadata
from clapas.release.documents.card.training import training
from clapas.release.documents.card.trust import contact, trust
from clapas.release.documents.card.use import quick_start, uses
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import front_matter, plain
from clapas.release.documents.words import Language, either
from clapas.release.layout import CARD

SECTIONS = (
    introduction,
    at_a_glance,
    quick_start,
    uses,
    limits,
    data,
    lineage,
    training,
    evaluation,
    trust,
    contact,
)
"""In the order of the card; one that has nothing to tell is empty."""


def documents(facts: Facts) -> dict[str, bytes]:
    """`README.md`."""
    title = f"# {plain(facts.answers.model.name)}\n\n*[Français](#français) · [English](#english)*\n"
    body = "\n".join([title, words.typeset(card(facts, "fr")), card(facts, "en")])
    return {CARD: front_matter(metadata(facts), body).encode()}


def card(facts: Facts, to: Language) -> str:
    """The card in one language."""
    sections = [section(facts, to) for section in SECTIONS]
    return "\n".join([f"## {either(to, 'Français', 'English')}\n", *filter(None, sections)])
