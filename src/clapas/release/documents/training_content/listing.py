"""Section 2 of the summary: the data's sources, by the kinds of the template."""

from __future__ import annotations

from clapas.release.asked.content import Crawler
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import block, plain, table
from clapas.release.documents.training_content.page import Page
from clapas.release.documents.training_content.sources import Source, entry
from clapas.release.documents.training_content.top_domains import DOMAINS, top_domains
from clapas.release.documents.words import Language, count, month, number

SHOWN = 20
"""Domains that the page itself shows; all are in the file beside it."""


def list_sources(page: Page, facts: Facts, sources: tuple[Source, ...]) -> None:
    """Sections 2.1 to 2.6."""
    kinds = {kind: [source for source in sources if source.answer.kind == kind] for kind in KINDS}
    _public(page, kinds["public"])
    _private(page, facts, kinds["licensed"], kinds["private"])
    _crawled(page, facts, kinds["crawled"])
    _of_users(page, facts, kinds["user"])
    _synthetic(page, facts, kinds["synthetic"])
    other = facts.answers.training_content.other
    page.yes_or_no("other", other is not None or bool(kinds["other"]))
    _describe(page, "other_data", [block(other.said(page.language), 5)] if other else [], kinds["other"])


KINDS = ("public", "licensed", "private", "crawled", "user", "synthetic", "other")


def _describe(page: Page, name: str, texts: list[str], sources: list[Source]) -> None:
    """Answer a question with these texts and sources, where there are any."""
    told = [*texts, *(entry(source, page.language) for source in sources)]
    if told:
        page.answer(name, "\n\n".join(told))


def _public(page: Page, sources: list[Source]) -> None:
    page.yes_or_no("public", bool(sources))
    if not sources:
        return
    large = [source for source in sources if source.answer.large]
    french = page.language == "fr"
    none = (
        "Aucun : aucun ne dépasse 3 % des données publiques de sa modalité."
        if french
        else "None: none has more than 3% of the publicly available data of its modality."
    )
    modality = _modality(page.language)
    _describe(page, "large", [modality if large else f"{modality} {none}"], large)
    others = [source for source in sources if not source.answer.large]
    _describe(page, "others", [modality] if others else [], others)


def _private(page: Page, facts: Facts, licensed: list[Source], private: list[Source]) -> None:
    answer, language = facts.answers.training_content.licensed, page.language
    text = [block(answer.description.said(language), 5)] if answer.description else []
    page.yes_or_no("licensed", answer.concluded)
    if answer.concluded:
        _describe(page, "licensed_data", [_modality(language), *text], licensed)
    page.yes_or_no("private", answer.private_data)
    if answer.private_data:
        _describe(page, "private_data", [_modality(language), *text], private)


def _crawled(page: Page, facts: Facts, sources: list[Source]) -> None:
    crawlers = facts.answers.training_content.crawlers
    page.yes_or_no("crawled", bool(crawlers))
    if crawlers:
        page.answer("crawlers", "\n\n".join(_crawler(crawler, page.language) for crawler in crawlers))
    _describe(page, "online", [_modality(page.language)] if sources else [], sources)
    if sources:
        page.answer("domains", _domains(sources, facts.answers.provider.small, page.language))


def _crawler(crawler: Crawler, language: Language) -> str:
    period = f"{month(crawler.first, language)} – {month(crawler.last, language)}"
    names = ("But", "Comportement", "Période") if language == "fr" else ("Purpose", "Behaviour", "Period")
    colon = " :" if language == "fr" else ":"
    told = (crawler.purpose.said(language), crawler.behaviour.said(language), period)
    lines = [f"- {name}{colon} {' '.join(text.split())}" for name, text in zip(names, told, strict=True)]
    return "\n".join((f"`{plain(crawler.name)}`", "", *lines))


def _domains(sources: list[Source], small: bool, language: Language) -> str:
    rows = [(source.name, *row) for source in sources for row in top_domains(source, small)]
    hosts = sum(source.domains.hosts for source in sources if source.domains)
    listed = (
        count(len(rows), "domaine", "domaines", "fr")
        if language == "fr"
        else count(len(rows), "domain", "domains", "en")
    )
    if language == "fr":
        rule = (
            "5 % des plus importants, 1 000 au plus (petite ou moyenne entreprise)"
            if small
            else "10 % des plus importants"
        )
        head = ("source", "domaine", "octets de texte")
        told = f"Sur {number(hosts, 'fr')} domaines, {listed} : les {rule}, selon le volume de texte."
        more = f"La liste entière est dans `{DOMAINS}`."
    else:
        rule = "the largest 5%, at most 1,000 (small or medium-sized enterprise)" if small else "the largest 10%"
        head = ("source", "domain", "bytes of text")
        told = f"Of {number(hosts, 'en')} domains, {listed}: {rule}, by the size of their text."
        more = f"The whole list is in `{DOMAINS}`."
    shown = [(plain(source), plain(domain), number(size, language)) for source, domain, size in rows[:SHOWN]]
    return f"{told} {more}\n\n{table(head, shown, numbers=(2,))}"


def _of_users(page: Page, facts: Facts, sources: list[Source]) -> None:
    answer = facts.answers.training_content.user_data
    page.yes_or_no("prompts", answer is not None and answer.from_model)
    page.yes_or_no("services", answer is not None and answer.from_services)
    if answer is not None:
        _describe(
            page, "user_data", [_modality(page.language), block(answer.description.said(page.language), 5)], sources
        )


def _synthetic(page: Page, facts: Facts, sources: list[Source]) -> None:
    answers, language = facts.answers.training_content.synthetic, page.language
    told = [f"`{plain(text.generator)}`\n\n{block(text.description.said(language), 5)}" for text in answers]
    told += _learned_from_models(facts, language)
    page.yes_or_no("synthetic", bool(told or sources))
    if told or sources:
        _describe(page, "generators", [_modality(language), *told], sources)


def _learned_from_models(facts: Facts, language: Language) -> list[str]:
    """What models said that the model learned from, though no text of theirs lies among the data."""
    told = []
    for base in facts.evidence.bases:
        if base.role == "teacher":
            answer = facts.answers.base_models.get(base.folder)
            name = plain(f"{answer.name} {answer.revision}" if answer else base.folder)
            told.append(
                f"Distillation : le modèle a appris les probabilités que {name} donne à chaque jeton lu."
                if language == "fr"
                else f"Distillation: the model learned the probabilities that {name} gives to each token that it read."
            )
    if facts.evidence.objective == "grpo":
        told.append(
            "Apprentissage par renforcement : le modèle a appris de ses propres réponses, jugées par des règles."
            if language == "fr"
            else "Reinforcement learning: the model learned from its own completions, which rules had judged."
        )
    return told


def _modality(language: Language) -> str:
    return "Modalité : texte." if language == "fr" else "Modality: text."
