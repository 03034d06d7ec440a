"""What the model has read: sources with their licences, what was removed, and where more is told."""

from __future__ import annotations

from clapas.release.documents import words
from clapas.release.documents.card.nouns import counted
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import address, code, plain, table
from clapas.release.documents.words import Language, either
from clapas.release.evidence.evidence import DataFacts, SourceFacts

HEAD = {
    "fr": ("source", "licence", "révision ou date", "documents", "jetons", "jetons lus"),
    "en": ("source", "licence", "revision or date", "documents", "tokens", "tokens read"),
}
KINDS = {
    "text": ("", ""),
    "conversations": (" (conversations)", " (conversations)"),
    "pairs": (" (paires de réponses)", " (pairs of answers)"),
    "labelled": (" (réponses jugées)", " (judged answers)"),
    "prompts": (" (consignes)", " (prompts)"),
}
PLOT = "images/data.png"


def data(facts: Facts, to: Language) -> str:
    """A table of sources for each corpus that went into the model, its own first."""
    title = either(to, "### Données d'entraînement", "### Training data")
    alt = either(to, "Jetons lus par source", "Tokens read by source")
    told = [title]
    for corpus in facts.evidence.data:
        told += [*_corpus(facts, corpus, to), *_removed(facts, corpus, to)]
    return "\n\n".join([*told, f"![{alt}]({PLOT})", _more(to)]) + "\n"


def _corpus(facts: Facts, corpus: DataFacts, to: Language) -> list[str]:
    kind = either(to, *KINDS.get(corpus.kind, ("", "")))
    what = either(to, f"Corpus {code(corpus.name)}{kind}", f"Corpus {code(corpus.name)}{kind}")
    if corpus.relation != "this":
        run = code(corpus.of)
        what += either(to, f", lu par l'entraînement {run} dont part celui-ci", f", read by {run}, which came before")
    rows = [_source(source, to) for source in corpus.sources]
    documents, tokens = (sum(getattr(s, key) for s in corpus.sources) for key in ("documents", "tokens"))
    if len(rows) > 1:
        sums = (documents, tokens, corpus.tokens_read)
        rows.append(("**total**", "", "", *(words.number(value, to) for value in sums)))
    return [
        what + either(to, ", empreinte ", ", hash ") + f"{code(corpus.manifest_hash)} (SHA-256){either(to, ' :', ':')}",
        table(HEAD[to], rows, numbers=(3, 4, 5)),
        "\n".join(_described(facts, source, to) for source in corpus.sources),
    ]


def _source(source: SourceFacts, to: Language) -> tuple[str, ...]:
    sums = (source.documents, source.tokens, source.tokens_read)
    when = ", ".join(plain(value) for value in (source.revision, source.date) if value)
    return (code(source.name), plain(source.licence), when, *(words.number(value, to) for value in sums))


def _described(facts: Facts, source: SourceFacts, to: Language) -> str:
    """What a source is, in people's words, where it is from, and what in it asks for care."""
    answer = facts.answers.training_content.sources.get(source.name)
    told = " ".join(answer.description.said(to).split()) if answer else ""
    origin = address(source.url) if source.url else plain(source.origin or "")
    care = words.listed([either(to, *CARE[name]) for name in source.contains if name in CARE], to)
    warned = either(to, f"Contient des {care}.", f"Contains {care}.") if care else ""
    return f"- {code(source.name)}{either(to, ' :', ':')} " + " ".join(filter(None, (told, origin, warned)))


CARE = {"personal": ("données personnelles", "personal data"), "health": ("données de santé", "health data")}


def _removed(facts: Facts, corpus: DataFacts, to: Language) -> list[str]:
    """Which documents of a corpus were removed, and whether the model may have read them."""
    told = []
    if since := corpus.removed_since:
        fr = ("en a été retiré", "le") if since == 1 else ("en ont été retirés", "les")
        en = ("was", "it") if since == 1 else ("were", "them")
        number = counted(since, "document", to)
        told.append(
            either(
                to,
                f"{number} {fr[0]} depuis cet entraînement, qui a pu {fr[1]} lire.",
                f"{number} {en[0]} removed from it since this training, which may have read {en[1]}.",
            )
        )
    if before := corpus.removed_before:
        fr = ("en avait été retiré", "le") if before == 1 else ("en avaient été retirés", "les")
        en = ("was", "it") if before == 1 else ("were", "them")
        number = counted(before, "document", to)
        stem = (
            (f" ; il part d'un modèle qui a pu {fr[1]} lire", f"; it comes from a model that may have read {en[1]}")
            if facts.evidence.branch and corpus.relation == "this"
            else ("", "")
        )
        told.append(
            either(
                to,
                f"{number} {fr[0]} avant cet entraînement{stem[0]}.",
                f"{number} {en[0]} removed from it before this training{stem[1]}.",
            )
        )
    return told


def _more(to: Language) -> str:
    return either(
        to,
        "Davantage : [résumé public du contenu d'entraînement](documents/training-content-summary.fr.md), [fiche des "
        "données](documents/data-card.fr.md), [vie privée](documents/privacy-report.fr.md), [métadonnées "
        "Croissant](documents/croissant.json).",
        "More: [public summary of training content](documents/training-content-summary.en.md), [data "
        "card](documents/data-card.en.md), [privacy](documents/privacy-report.en.md), [Croissant "
        "metadata](documents/croissant.json).",
    )
