"""What the form asks of the data: the summary of training content has all of it, source by source."""

from __future__ import annotations

from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import block, plain
from clapas.release.documents.training_content.sources import sources_of
from clapas.release.documents.words import Language, either, number

PROVENANCE = {
    "crawled": ("collecte sur l'internet", "web crawling"),
    "private": (
        "données privées obtenues de tiers",
        "private non-publicly available datasets obtained from third parties",
    ),
    "licensed": ("données sous licence commerciale", "commercially licensed datasets"),
    "user": ("données des utilisateurs", "user data"),
    "public": ("données accessibles au public", "publicly available datasets"),
    "synthetic": ("données synthétiques", "synthetic data"),
    "other": ("autres données", "data collected through other means"),
}


def answers_of_data(facts: Facts, language: Language) -> dict[str, str]:
    """Item -> answer, in Markdown."""
    answers, sources = facts.answers, sources_of(facts)
    content = answers.training_content
    kinds = [source.answer.kind for source in sources]
    boxes = [f"{'☒' if kind in kinds else '☐'} {either(language, *names)}" for kind, names in PROVENANCE.items()]
    obtained = [
        f"- {plain(source.name)}{either(language, ' :', ':')} {plain(source.answer.licence_basis.said(language))}"
        for source in sources
    ]
    whole = either(
        language,
        "Source par source : `documents/training-content-summary.fr.md`.",
        "Source by source: `documents/training-content-summary.en.md`.",
    )
    return {
        "type": f"☒ {either(language, 'Texte', 'Text')}   ☐ Image   ☐ Audio   ☐ {either(language, 'Vidéo', 'Video')}",
        "provenance": "\n".join(f"- {box}" for box in boxes),
        "obtained": "\n".join(obtained) + f"\n\n{whole}",
        "points": _points(facts, language),
        "scope": f"{block(content.content_types.said(language), 4)}\n\n{block(content.languages.said(language), 4)}",
        "curation": _curation(facts, language),
        "unsuitable": block(answers.documentation.unsuitable.said(language), 4),
        "biases": block(answers.documentation.biases.said(language), 4),
    }


def _points(facts: Facts, language: Language) -> str:
    """Documents and tokens of training; tokens of each validation."""
    sources = sources_of(facts)
    documents, tokens = sum(source.documents for source in sources), sum(source.tokens for source in sources)
    splits = {row.split: row.tokens for row in facts.evidence.held_out if row.tokens}
    validation = either(language, " ; ", "; ").join(
        f"`{name}` {number(count, language)}" for name, count in splits.items()
    )
    said = either(
        language,
        f"Entraînement : {number(documents, 'fr')} documents, {number(tokens, 'fr')} jetons.",
        f"Training: {number(documents, 'en')} documents, {number(tokens, 'en')} tokens.",
    )
    if not validation:
        return said
    return f"{said} {either(language, 'Validation, en jetons :', 'Validation, in tokens:')} {validation}."


def _curation(facts: Facts, language: Language) -> str:
    """The steps of each corpus, by name; their counts are in the summary."""
    corpora = {data.manifest_hash: data for data in facts.evidence.data}.values()
    lines = [
        f"- {plain(data.name)}{either(language, ' :', ':')} {', '.join(f'`{step.name}`' for step in data.steps)}"
        for data in corpora
        if data.steps
    ]
    counts = either(
        language,
        "Ce que chaque étape a retiré : point 3.3 de `documents/training-content-summary.fr.md`.",
        "What each step removed: section 3.3 of `documents/training-content-summary.en.md`.",
    )
    nothing = either(language, "Aucune étape connue.", "No step is known.")
    return "\n".join(lines) + f"\n\n{counts}" if lines else nothing
