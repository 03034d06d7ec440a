"""The sources of a model's training data, each once, with what people answered of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clapas.recipe.errors import UserError
from clapas.release.asked.content import SourceAnswer
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import address, block, code, plain
from clapas.release.documents.words import Language, count, date, month, number
from clapas.release.evidence.evidence import DataFacts, Domains, SourceFacts


@dataclass(frozen=True, slots=True)
class Source:
    """A source as several runs may have read it. versions: as each corpus had it, the same one once.

    tokens: of its training text, repetitions not counted; tokens_read: by all runs, repetitions counted.
    """

    name: str
    answer: SourceAnswer
    versions: tuple[SourceFacts, ...]
    tokens_read: int

    @property
    def tokens(self) -> int:
        """Of its largest version."""
        return max(version.tokens for version in self.versions)

    @property
    def documents(self) -> int:
        """Of its largest version."""
        return max(version.documents for version in self.versions)

    @property
    def domains(self) -> Domains | None:
        """Of its largest version that knows any."""
        known = [version.domains for version in self.versions if version.domains is not None]
        return max(known, key=lambda domains: domains.text_bytes, default=None)


def sources_of(facts: Facts) -> tuple[Source, ...]:
    """All sources of the runs that made the model, in the order of the evidence; of a teacher's where they are known.

    Raises UserError where people said nothing of a source, or spoke of one that no run read.
    """
    found: dict[str, list[tuple[DataFacts, SourceFacts]]] = {}
    for data in facts.evidence.data:
        for source in data.sources:
            found.setdefault(source.name, []).append((data, source))
    _refuse_strangers(found, facts.answers.training_content.sources)
    return tuple(_source(name, read, facts.answers.training_content.sources[name]) for name, read in found.items())


def _refuse_strangers(found: Iterable[str], answered: Iterable[str]) -> None:
    silent, unknown = sorted(set(found) - set(answered)), sorted(set(answered) - set(found))
    if silent or unknown:
        raise UserError(
            "a source of the data without an answer" if silent else "an answer about a source that no run read",
            where="release.yaml: training_content.sources",
            found="; ".join(
                f"{word} {', '.join(names)}" for word, names in (("no", silent), ("one of", unknown)) if names
            ),
            wanted=f"the sources of the corpus: {', '.join(found)}",
            way_out="`clapas release RUN --template` lists them, with what is asked of each",
        )


def _source(name: str, read: list[tuple[DataFacts, SourceFacts]], answer: SourceAnswer) -> Source:
    versions = {(source.revision, source.sha256, source.tokens): source for _, source in read}
    return Source(name, answer, tuple(versions.values()), sum(source.tokens_read for _, source in read))


def entry(source: Source, language: Language) -> str:
    """A source as the summary lists it: what it is, where it is, which version, when it was acquired, how much."""
    versions = dict.fromkeys(_version(version, language) for version in source.versions)
    return "\n\n".join(
        (
            f"**{plain(source.name)}** — {', '.join(versions)}",
            block(source.answer.description.said(language), 5),
            "\n".join(_facts(source, language)),
        )
    )


def _facts(source: Source, language: Language) -> Iterator[str]:
    first, last = (month(day, language) for day in source.answer.acquired)
    period = first if first == last else f"{first} – {last}"
    licences = plain(", ".join(dict.fromkeys(version.licence for version in source.versions)))
    basis = plain(source.answer.licence_basis.said(language))
    documents = count(source.documents, "document", "documents", language)
    tokens, read = number(source.tokens, language), number(source.tokens_read, language)
    if language == "fr":
        yield f"- Période d'acquisition : {period}"
        yield f"- Licence : {licences} ; {basis}"
        yield f"- Volume : {documents}, {tokens} jetons ; lus par l'entraînement, répétitions comprises : {read}"
    else:
        yield f"- Acquired: {period}"
        yield f"- Licence: {licences}; {basis}"
        yield f"- Size: {documents}, {tokens} tokens; read in training, repetitions included: {read}"


def _version(version: SourceFacts, language: Language) -> str:
    """The link, the revision and its date, as far as the corpus knows them."""
    parts = [address(version.url)] if version.url else [code(version.origin)] if version.origin else []
    if version.revision:
        parts.append(f"version {code(version.revision)}")
    if version.date:
        parts.append(f"{'du' if language == 'fr' else 'of'} {_day(version.date, language)}")
    return ", ".join(parts) or ("sans lien" if language == "fr" else "no link")


def _day(said: str, language: Language) -> str:
    """A source's date, which a corpus file may give as a day, a month, or in words."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}.*", said):
        return date(said, language)
    return month(said, language) if re.fullmatch(r"\d{4}-\d{2}", said) else plain(said)
