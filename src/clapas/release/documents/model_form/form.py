"""The form in French and in English: every item answered, from the evidence, the export and `release.yaml`."""

from __future__ import annotations

from clapas.release.documents.facts import Facts
from clapas.release.documents.model_form.answers_of_data import answers_of_data
from clapas.release.documents.model_form.answers_of_model import answers_of_model
from clapas.release.documents.model_form.answers_of_training import answers_of_training
from clapas.release.documents.model_form.items import ITEMS, TITLE
from clapas.release.documents.words import LANGUAGES, Language, either, typeset

NAME = "documents/model-documentation-form.{language}.md"


def documents(facts: Facts) -> dict[str, bytes]:
    """The form in both languages."""
    return {NAME.format(language=language): _form(facts, language) for language in LANGUAGES}


def _form(facts: Facts, language: Language) -> bytes:
    answers = (
        answers_of_model(facts, language) | answers_of_training(facts, language) | answers_of_data(facts, language)
    )
    lines = [f"# {either(language, *TITLE)}", _introduction(language)]
    for section, items in ITEMS.items():
        lines.append(f"## {either(language, *section)}")
        for name, asked in items.items():
            lines += [f"**{either(language, *asked)}**", answers[name].strip()]
    text = "\n\n".join(lines) + "\n"
    return (typeset(text) if language == "fr" else text).encode()


def _introduction(language: Language) -> str:
    return either(
        language,
        "D'après le formulaire du code de bonnes pratiques pour les modèles d'IA à usage général (chapitre "
        "Transparence, mesure 1.1), que le fournisseur publie ici en entier. Les quantités sont calculées d'après "
        "`evidence.json`.",
        "After the form of the Code of Practice for general-purpose AI models (transparency chapter, measure 1.1), "
        "which the provider publishes here as a whole. Quantities are computed from `evidence.json`.",
    )
