"""Section 3 of the summary: reservations of rights, illegal content, and what every step of the build removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clapas.release.documents.detectors import NAMES
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import address, block, plain, table
from clapas.release.documents.steps import step_said
from clapas.release.documents.training_content.page import Page
from clapas.release.documents.words import Language, chosen, colon, count, either, listed, number
from clapas.release.evidence.evidence import DataFacts, StepTotals
from clapas_data.personal.seems import STEP

OPT_OUT = ("opt_out",)
UNWANTED = ("words", "personal")
"""Steps against texts that the law may forbid: toxic and adult ones, and personal data."""
REASONS = {
    "id": ("documents désignés", "documents named"),
    "domain": ("domaines opposés", "domains opted out"),
    "url": ("pages opposées", "pages opted out"),
    "tdm_reservation": ("fouille de textes réservée", "text and data mining reserved"),
    "without_url": ("sans adresse, non contrôlables par domaine", "without an address, not to be checked by domain"),
    "toxicity": ("textes toxiques", "toxic texts"),
    "adult": ("textes pour adultes", "adult texts"),
    f"{STEP}.documents": ("documents où quelque chose a été remplacé", "documents in which something was replaced"),
    **{f"{STEP}.{kind}": names for kind, names in NAMES.items()},
}
"""Reasons and counts of these steps, as people say them."""


def tell_processing(page: Page, facts: Facts) -> None:
    """Sections 3.1 to 3.3."""
    answers, language = facts.answers.training_content, page.language
    page.yes_or_no("signatory", answers.code_of_practice)
    removed = _removed(facts, OPT_OUT, language)
    page.answer("reservations", f"{block(answers.opt_out.said(language), 5)}\n\n{removed}")
    page.answer("complaints", _complaints(facts, language))
    removed = _removed(facts, UNWANTED, language)
    page.answer("illegal", f"{block(answers.illegal_content.said(language), 5)}\n\n{removed}")
    page.answer("steps", "\n\n".join(_all_steps(data, language) for data in _corpora(facts)))


def _complaints(facts: Facts, language: Language) -> str:
    contacts = facts.answers.contacts
    before = sum(data.removed_before for data in facts.evidence.data)
    since = sum(data.removed_since for data in facts.evidence.data)
    if language == "fr":
        asked = f"Réclamations : {address(contacts.rights)} ; retrait de documents : {address(contacts.takedown)}."
        told = f"Retirés sur demande avant l'entraînement : {number(before, 'fr')} ; depuis : {number(since, 'fr')}."
    else:
        asked = f"Complaints: {address(contacts.rights)}; removal of documents: {address(contacts.takedown)}."
        told = f"Removed on request before training: {number(before, 'en')}; since: {number(since, 'en')}."
    return f"{asked} {told}"


def _corpora(facts: Facts) -> Iterable[DataFacts]:
    """Each corpus once, however many runs read it."""
    return {(data.manifest_hash, data.revision): data for data in facts.evidence.data}.values()


def _removed(facts: Facts, names: tuple[str, ...], language: Language) -> str:
    """What steps of these names removed or changed, in the words of their own reasons."""
    told = [_step(step, data.name, language) for data in _corpora(facts) for step in data.steps if step.name in names]
    if told:
        return "\n".join(told)
    steps = listed([f"`{name}`" for name in names], language, "or")
    if language == "fr":
        return f"Compté par la construction des données : rien, car elle n'a pas d'étape {steps}."
    return f"Counted by the build of the data: nothing, as it has no step {steps}."


def _step(step: StepTotals, corpus: str, language: Language) -> str:
    removed = step.documents_in - step.documents_out
    dropped = count(removed, "document", "documents", language)
    counted = [(name, amount) for name, amount in (*step.reasons.items(), *step.counts.items()) if amount]
    details = either(language, " ; ", "; ").join(
        f"{_reason(name, language)}{colon(language)} {number(n, language)}" for name, n in counted
    )
    if language == "fr":
        said = (
            f"- Corpus {plain(corpus)}, étape `{step.name}` : {dropped} {chosen(removed, 'retiré', 'retirés', 'fr')} "
            f"sur {number(step.documents_in, 'fr')}"
        )
    else:
        said = f"- Corpus {plain(corpus)}, step `{step.name}`: {dropped} removed of {number(step.documents_in, 'en')}"
    return said + (f" ({details})" if details else "")


def _reason(name: str, language: Language) -> str:
    """A step's own word for why, or what, it counted."""
    return either(language, *REASONS[name]) if name in REASONS else f"`{name}`"


def _all_steps(data: DataFacts, language: Language) -> str:
    """A corpus's steps in their order."""
    head = {
        "fr": ("étape", "documents reçus", "documents gardés", "octets reçus", "octets gardés"),
        "en": ("step", "documents in", "documents kept", "bytes in", "bytes kept"),
    }[language]
    return f"Corpus {plain(data.name)}\n\n{table(head, _rows(data, language), numbers=(1, 2, 3, 4))}"


def _rows(data: DataFacts, language: Language) -> Iterator[tuple[str, ...]]:
    for step in data.steps:
        amounts = (step.documents_in, step.documents_out, step.bytes_in, step.bytes_out)
        yield step_said(step.name, language), *(number(amount, language) for amount in amounts)
