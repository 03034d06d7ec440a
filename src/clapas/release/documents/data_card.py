"""The data card: what the texts are, who says so, what was done to them and what is left; French and English."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from clapas.release.documents import words
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import address, block, code, plain, table
from clapas.release.documents.privacy import contents_named
from clapas.release.documents.steps import step_said
from clapas.release.documents.words import Language, either
from clapas.release.evidence.evidence import DataFacts, SourceFacts, StepTotals

RELATIONS = {
    "this": ("lu par cet entraînement", "read by this training"),
    "branch": ("lu par l'entraînement que celui-ci continue", "read by the training that this one continues"),
    "base": ("lu par l'entraînement du modèle de départ", "read by the training of the model that this one began with"),
}


def documents(facts: Facts) -> dict[str, bytes]:
    """`documents/data-card.{fr,en}.md`."""
    return {
        "documents/data-card.fr.md": words.typeset("\n\n".join(_card(facts, "fr")) + "\n").encode(),
        "documents/data-card.en.md": ("\n\n".join(_card(facts, "en")) + "\n").encode(),
    }


def _card(facts: Facts, to: Language) -> Iterator[str]:
    model, content = facts.answers.model, facts.answers.training_content
    yield either(to, "# Fiche des données d'entraînement", "# Card of the training data")
    yield f"{plain(model.name)} {plain(model.version)}, {words.date(facts.date, to)}."
    yield either(
        to,
        "**Ces données ne sont pas distribuées avec le modèle**, et ne peuvent pas toutes l'être : cette fiche dit ce "
        "qu'elles sont, d'où elles viennent, et par quelles empreintes on les reconnaît. Les mêmes faits, pour des "
        "machines : [croissant.json](croissant.json), [bom.cdx.json](bom.cdx.json), `evidence.json`.",
        "**These data are not distributed with the model**, and not all of them may be: this card tells what they are, "
        "where they are from, and by which hashes they are known. The same facts for machines: "
        "[croissant.json](croissant.json), [bom.cdx.json](bom.cdx.json), `evidence.json`.",
    )
    yield block(content.content_types.said(to), 2)
    yield block(content.languages.said(to), 2)
    if content.characteristics is not None:
        yield block(content.characteristics.said(to), 2)
    for data in facts.evidence.data:
        yield from _corpus(facts, data, to)
    yield from _limits(facts, to)


def _corpus(facts: Facts, data: DataFacts, to: Language) -> Iterator[str]:
    yield f"## {either(to, 'Corpus', 'Corpus')} {code(data.name)}"
    yield _overview(data, to)
    yield either(to, "### Sources", "### Sources")
    yield _sources_table(data, to)
    for source in data.sources:
        yield _source(facts, source, to)
    yield from _shares(data, to)
    yield either(to, "### Préparation", "### Preparation")
    yield _steps(data.steps, to)
    if rows := _reasons(data, to):
        yield either(to, "Documents écartés, par raison :", "Documents left out, by reason:")
        yield table(either(to, "étape|raison|documents", "step|reason|documents").split("|"), rows, numbers=(2,))


def _overview(data: DataFacts, to: Language) -> str:
    relation = either(to, *RELATIONS[data.relation])
    shards = sum(len(source.shards) for source in data.sources)
    colon = either(to, " :", ":")
    rows = {
        either(to, "rôle", "role"): f"{relation} ({code(data.of)})",
        either(to, "empreinte du manifeste (SHA-256)", "manifest hash (SHA-256)"): code(data.manifest_hash),
        either(to, "découpeur en jetons, ou *tokenizer* (SHA-256)", "tokenizer (SHA-256)"): code(
            data.tokenizer_hash or "–"
        ),
        either(to, "révision", "revision"): words.number(data.revision, to),
        either(to, "fragments", "shards"): words.number(shards, to),
        either(to, "documents", "documents"): words.number(sum(own.documents for own in data.sources), to),
        either(to, "jetons", "tokens"): words.number(sum(own.tokens for own in data.sources), to),
        either(to, "jetons lus, répétitions comprises", "tokens read, repetitions counted"): words.number(
            data.tokens_read, to
        ),
        either(to, "documents retirés sur demande", "documents removed on request"): words.number(
            data.removed_before + data.removed_since, to
        ),
    }
    return "\n".join(f"- {name}{colon} {value}" for name, value in rows.items())


def _sources_table(data: DataFacts, to: Language) -> str:
    head = either(
        to,
        "source|licence|révision|date|langue|domaine|documents|octets|jetons|jetons lus",
        "source|licence|revision|date|language|domain|documents|bytes|tokens|tokens read",
    ).split("|")
    rows = [
        (
            code(source.name),
            plain(source.licence),
            plain(source.revision or ""),
            plain(source.date or ""),
            plain(source.language or ""),
            plain(source.domain or ""),
            words.number(source.documents, to),
            "" if source.text_bytes is None else words.size(source.text_bytes, to),
            words.number(source.tokens, to),
            words.number(source.tokens_read, to),
        )
        for source in data.sources
    ]
    return table(head, rows, numbers=range(6, 10))


def _source(facts: Facts, source: SourceFacts, to: Language) -> str:
    answer = facts.answers.training_content.sources.get(source.name)
    colon = either(to, " :", ":")
    known = {
        either(to, "origine", "origin"): " ".join(
            filter(None, (plain(source.origin or ""), address(source.url) if source.url else ""))
        ),
        "SHA-256": code(source.sha256) if source.sha256 else "",
        either(to, "réserves", "caveats"): plain(", ".join(source.caveats)),
        either(to, "contient", "contains"): contents_named(source.contains, to) if source.contains else "",
    }
    if answer is not None:
        first, last = (words.month(month, to) for month in answer.acquired)
        known |= {
            either(to, "acquis", "acquired"): first if first == last else f"{first} – {last}",
            either(to, "d'où la licence est connue", "how the licence is known"): plain(answer.licence_basis.said(to)),
            "attribution": plain(answer.attribution),
            either(to, "décision sur la licence", "decision on the licence"): ""
            if answer.licence_decision is None
            else " ".join(answer.licence_decision.said(to).split()),
        }
    said = "" if answer is None else " ".join(answer.description.said(to).split())
    lines = [f"**{code(source.name)}**{colon} {said}"]
    return "\n".join([*lines, *(f"- {name}{colon} {value}" for name, value in known.items() if value)])


def _shares(data: DataFacts, to: Language) -> Iterator[str]:
    """Tokens read by language and by domain, where sources say these."""
    for what, heading in (
        ("language", either(to, "### Langues", "### Languages")),
        ("domain", either(to, "### Domaines", "### Domains")),
    ):
        shares: Counter[str] = Counter()
        for source in data.sources:
            shares[getattr(source, what) or either(to, "non dit", "not said")] += source.tokens_read
        if any(getattr(source, what) for source in data.sources):
            yield heading
            head = (either(to, "valeur", "value"), either(to, "jetons lus", "tokens read"), either(to, "part", "share"))
            total = max(1, data.tokens_read)
            rows = [
                (plain(name), words.number(tokens, to), words.percent(tokens / total, to))
                for name, tokens in shares.most_common()
            ]
            yield table(head, rows, numbers=(1, 2))


def _steps(steps: tuple[StepTotals, ...], to: Language) -> str:
    head = either(
        to,
        "étape|documents entrés|sortis|modifiés|texte entré|sorti",
        "step|documents in|out|changed|text in|out",
    ).split("|")
    rows = [
        (
            step_said(step.name, to),
            *(words.number(value, to) for value in (step.documents_in, step.documents_out, step.changed)),
            *(words.size(value, to) for value in (step.bytes_in, step.bytes_out)),
        )
        for step in steps
    ]
    return table(head, rows, numbers=range(1, 6))


def _reasons(data: DataFacts, to: Language) -> list[tuple[str, str, str]]:
    return [
        (code(step.name), code(reason), words.number(count, to))
        for step in data.steps
        for reason, count in sorted(step.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def _limits(facts: Facts, to: Language) -> Iterator[str]:
    answers = facts.answers
    yield either(to, "## Limites", "## Limits")
    yield either(to, "### Sources inadaptées", "### Unsuitable sources")
    yield block(answers.documentation.unsuitable.said(to), 4)
    yield either(to, "### Biais", "### Biases")
    yield block(answers.documentation.biases.said(to), 4)
    yield either(to, "### Personnes, droits, retrait", "### Persons, rights, takedown")
    yield either(
        to,
        "Données personnelles et de santé : [rapport](privacy-report.fr.md). Réserves des ayants droit et contenus "
        "illicites : [résumé public du contenu d'entraînement](training-content-summary.fr.md).",
        "Personal and health data: [report](privacy-report.en.md). Reservations of right holders and illegal content: "
        "[public summary of training content](training-content-summary.en.md).",
    )
    contact = either(to, "Retrait d'un document : ", "Takedown of a document: ")
    yield f"{contact}{address(answers.contacts.takedown)}."
