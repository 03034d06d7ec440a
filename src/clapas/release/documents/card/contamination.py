"""How far the training text overlaps with what the model was measured on: looked for, and removed before."""

from __future__ import annotations

from collections.abc import Iterator

from clapas.release.documents import words
from clapas.release.documents.card.nouns import counted
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import code, table
from clapas.release.documents.results import Overlap, overlaps
from clapas.release.documents.words import Language, either

HELD_OUT = "decontaminate"
"""The step of a build that drops what is close to held-out documents; a step's name behind it names other sets."""


def contamination(facts: Facts, to: Language) -> str:
    """Which tasks' items the model has read, and which documents its data lost so that it would not."""
    found, removed = overlaps(facts.evidence), list(_removed(facts, to))
    if not found and not removed:
        return either(to, "Contamination : non recherchée.", "Contamination: not looked for.")
    return "\n\n".join([*([_looked_for(found, to)] if found else []), *(["\n".join(removed)] if removed else [])])


def _looked_for(found: list[Overlap], to: Language) -> str:
    first = found[0]
    files = words.listed([code(f"evaluations/{name}") for name in dict.fromkeys(own.file for own in found)], to)
    told = either(
        to,
        f"Contamination : questions dont une suite de {first.words} mots (ou le texte entier, dès {first.fewest_words} "
        "mots) se retrouve dans les textes d'entraînement ; les textes plus courts ne peuvent pas être cherchés. "
        f"Relevé complet : {files}.",
        f"Contamination: questions of which a run of {first.words} words (or the whole text, from {first.fewest_words} "
        f"words on) stands in the training text; shorter ones cannot be looked for. Whole record: {files}.",
    )
    head = (
        ("tâche", "corpus", "questions", "cherchées", "retrouvées")
        if to == "fr"
        else ("task", "corpus", "questions", "looked for", "found")
    )
    rows = [
        (code(own.task), code(own.corpus), *(words.number(n, to) for n in (own.items, own.looked_for, own.overlapping)))
        for own in found
    ]
    return f"{told}\n\n{table(head, rows, numbers=(2, 3, 4))}"


def _removed(facts: Facts, to: Language) -> Iterator[str]:
    """A line for each step of a build that took out what is close to evaluation text."""
    for data in facts.evidence.data:
        for step in data.steps:
            if step.name != HELD_OUT and not step.name.startswith(f"{HELD_OUT}."):
                continue
            dropped = step.documents_in - step.documents_out
            many, whole, corpus = counted(dropped, "document", to), words.number(step.documents_in, to), code(data.name)
            fr = "retiré" if dropped < 2 else "retirés"
            sets = words.listed([code(name) for name in step.reasons], to) if step.name != HELD_OUT else ""
            yield either(
                to,
                f"- {many} sur {whole} {fr} de {corpus} avant l'entraînement, trop "
                f"{'proche' if dropped < 2 else 'proches'} "
                + (f"de textes d'évaluation ({sets})." if sets else "des textes tenus à l'écart."),
                f"- {many} of {whole} removed from {corpus} before training, too close to "
                + (f"evaluation text ({sets})." if sets else "held-out text."),
            )
