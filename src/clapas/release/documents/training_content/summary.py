"""The summary in French and in English: what people know from `release.yaml`, all else from the evidence.

It covers every stage of the training, with the runs that this one branched from and those that trained what it began
with; of a model of another provider, it names that one's own summary.
"""

from __future__ import annotations

from clapas.release.documents.card.identity import LANGUAGES as LANGUAGE_NAMES
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import address, block, plain
from clapas.release.documents.training_content.listing import list_sources
from clapas.release.documents.training_content.page import Page
from clapas.release.documents.training_content.processing import tell_processing
from clapas.release.documents.training_content.sources import Source, sources_of
from clapas.release.documents.training_content.top_domains import DOMAINS, domains_file
from clapas.release.documents.words import LANGUAGES, Language, date, either, listed, number, rounded

NAME = "documents/training-content-summary.{language}.md"
UNION = frozenset(
    (
        *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT"),
        *("LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"),
    )
)
"""Member States, ISO 3166."""
BILLION, TEN_TRILLION = 1e9, 1e13
"""Where the template parts sizes of text, in tokens."""


def documents(facts: Facts) -> dict[str, bytes]:
    """The summary in both languages and, where sources were crawled, the list of their domains."""
    sources = sources_of(facts)
    files = {NAME.format(language=language): _summary(facts, sources, language) for language in LANGUAGES}
    domains = domains_file(sources, facts.answers.provider.small)
    return files | ({DOMAINS: domains} if domains else {})


def _summary(facts: Facts, sources: tuple[Source, ...], language: Language) -> bytes:
    page = Page(language)
    page.say(_introduction(language))
    page.answer("version", plain(facts.answers.model.version))
    page.answer("update", date(facts.date, language))
    _identify(page, facts)
    _describe(page, facts, sources)
    list_sources(page, facts, sources)
    tell_processing(page, facts)
    return page.written()


def _introduction(language: Language) -> str:
    if language == "fr":
        return (
            "Établi selon le modèle de la Commission européenne (communication C(2025) 8311) pour l'article 53, "
            "paragraphe 1, point d), du règlement (UE) 2024/1689 (règlement sur l'intelligence artificielle). Il vaut "
            "pour toutes les étapes de l'entraînement. Les quantités sont calculées d'après le registre de "
            "l'entraînement et le manifeste des données (`evidence.json`)."
        )
    return (
        "After the European Commission's template (communication C(2025) 8311) for Article 53(1)(d) of Regulation (EU) "
        "2024/1689 (AI Act). It covers all stages of training. Quantities are computed from the training's ledger and "
        "the manifest of the data (`evidence.json`)."
    )


def _identify(page: Page, facts: Facts) -> None:
    provider, model, language = facts.answers.provider, facts.answers.model, page.language
    contacts = ", ".join(
        (f"{plain(provider.address)} ({plain(provider.country)})", address(provider.website), address(provider.email))
    )
    page.answer("provider", f"{plain(provider.name)}, {contacts}")
    page.answer(
        "representative", plain(provider.representative or "") or _no_representative(provider.country, language)
    )
    page.answer("names", _names(facts, language))
    page.answer("dependencies", dependencies(facts, language))
    page.answer("market", date(model.on_market, language))


def _no_representative(country: str, language: Language) -> str:
    """Why none is named: nobody in the Union needs one, nor does whoever publishes under a free licence."""
    if country in UNION:
        return either(
            language,
            f"Sans objet : le fournisseur est établi dans l'Union ({country}).",
            f"Not applicable: the provider is established in the Union ({country}).",
        )
    return either(
        language,
        f"Aucun : le fournisseur est établi hors de l'Union ({country}) ; l'article 54, paragraphe 6, dispense de "
        "mandataire les modèles sous licence libre sans risque systémique.",
        f"None: the provider is established outside the Union ({country}); Article 54(6) spares models under a free "
        "licence without systemic risk the representative.",
    )


def _names(facts: Facts, language: Language) -> str:
    """The model with its version, and what else of it is released: other formats, intermediate checkpoints."""
    model = facts.answers.model
    lines = [f"- {plain(model.name)} {plain(model.version)} ({plain(model.repository)})"]
    lines += [f"- GGUF `{name}`" for name in facts.gguf]
    earlier = either(language, "point de reprise intermédiaire", "intermediate checkpoint")
    return "\n".join(lines + [f"- {earlier} `{name}`" for name in facts.revisions])


def dependencies(facts: Facts, language: Language) -> str:
    """Models of others that training began with, with their own summaries; and those of ours."""
    told = []
    french = language == "fr"
    for base in facts.evidence.bases:
        answer = facts.answers.base_models.get(base.folder)
        if base.role == "teacher" or (answer is None and base.run is None):
            continue
        if answer is None:
            told.append(
                f"- `{base.folder}` : modèle du même fournisseur, dont les données sont comprises dans ce résumé"
                if french
                else f"- `{base.folder}`: a model of the same provider, whose data this summary includes"
            )
            continue
        summary = address(answer.summary) if answer.summary else ("non publié" if french else "none published")
        told.append(
            f"- {plain(answer.name)} ({plain(answer.revision)}), {address(answer.url)} ; son résumé : {summary}"
            if french
            else f"- {plain(answer.name)} ({plain(answer.revision)}), {address(answer.url)}; its summary: {summary}"
        )
    nothing = {
        "fr": "Aucun : le modèle a été entraîné depuis des poids aléatoires.",
        "en": "None: the model was trained from random weights.",
    }
    return "\n".join(told) or nothing[language]


def _describe(page: Page, facts: Facts, sources: tuple[Source, ...]) -> None:
    answers, language = facts.answers.training_content, page.language
    page.answer("modality", _modality(facts, sources, language))
    latest = max(source.answer.acquired[1] for source in sources)
    year, month = latest.split("-")
    page.answer(
        "latest",
        f"{month}/{year}. "
        + (
            "Le modèle n'est pas entraîné en continu sur de nouvelles données : ces poids sont définitifs."
            if language == "fr"
            else "The model is not continuously trained on new data: these weights are final."
        ),
    )
    page.answer("languages", f"{block(answers.languages.said(language), 5)}\n\n{_by_language(sources, language)}")
    nothing = {"fr": "Aucune autre.", "en": "None."}
    other = answers.characteristics
    page.answer("characteristics", block(other.said(language), 5) if other else nothing[language])


def _modality(facts: Facts, sources: tuple[Source, ...], language: Language) -> str:
    tokens, read = sum(source.tokens for source in sources), sum(source.tokens_read for source in sources)
    content = block(facts.answers.training_content.content_types.said(language), 5)
    places = [tokens < BILLION, BILLION <= tokens <= TEN_TRILLION, tokens > TEN_TRILLION]
    names = (
        ("moins d'un milliard de jetons", "d'un milliard à 10 000 milliards de jetons", "plus de 10 000 milliards")
        if language == "fr"
        else ("Less than 1 billion tokens", "1 billion to 10 trillion tokens", "More than 10 trillion tokens")
    )
    boxes = "   ".join(f"{'☒' if ticked else '☐'} {name}" for ticked, name in zip(places, names, strict=True))
    if language == "fr":
        exact = (
            f"Exactement : {number(tokens, 'fr')} jetons (tokens) distincts ; l'entraînement en a lu "
            f"{number(read, 'fr')}, répétitions comprises."
        )
        return f"☒ Texte   ☐ Image   ☐ Audio   ☐ Vidéo   ☐ Autre\n\n{boxes}\n\n{exact}\n\n{content}"
    exact = (
        f"Exactly: {number(tokens, 'en')} distinct tokens; training read {number(read, 'en')}, repetitions included."
    )
    return f"☒ Text   ☐ Image   ☐ Audio   ☐ Video   ☐ Other\n\n{boxes}\n\n{exact}\n\n{content}"


def _by_language(sources: tuple[Source, ...], language: Language) -> str:
    """Tokens of the languages that the corpus declares, source by source."""
    sizes: dict[str, int] = {}
    for source in sources:
        for version in source.versions:
            name = version.language or ""
            sizes[name] = sizes.get(name, 0) + version.tokens
    told = [
        f"{_language_name(name, language)} ({rounded(size, language)})"
        for name, size in sorted(sizes.items(), key=lambda i: -i[1])
    ]
    intro = "Déclarées par le corpus, en jetons : " if language == "fr" else "Declared, in tokens: "
    return f"{intro}{listed(told, language)}."


def _language_name(code: str, language: Language) -> str:
    """A language by its name, or by its code; empty: the corpus does not say."""
    return LANGUAGE_NAMES[language].get(code, plain(code)) if code else either(language, "non déclarée", "not declared")
