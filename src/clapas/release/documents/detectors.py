"""The detectors of personal data, as reports tell of them: what each looks for, and how much of it is found."""

from __future__ import annotations

from collections.abc import Iterator

from clapas.release.documents import words
from clapas.release.documents.markdown import table
from clapas.release.documents.words import Language, either
from clapas_data.personal.figures import read_figures

NAMES = {
    "nir": ("numéro de sécurité sociale (NIR)", "social security number (NIR)"),
    "ins": ("identité nationale de santé (INS)", "national health identity (INS)"),
    "phone": ("téléphone", "telephone"),
    "email": ("courriel", "e-mail"),
    "ip": ("adresse IP", "IP address"),
    "iban": ("IBAN", "IBAN"),
    "card": ("carte bancaire", "bank card"),
    "address": ("adresse postale", "postal address"),
    "birth_date": ("date de naissance", "date of birth"),
    "rpps": ("RPPS, ADELI", "RPPS, ADELI"),
    "ipp": ("numéro de patient ou de séjour", "number of a patient or a stay"),
    "person": ("nom après un titre ou dans un formulaire", "name after a title or in a form"),
}
"""Kind of personal data -> what it is."""


def quality(to: Language) -> Iterator[str]:
    """What was measured of the detectors, with what it does not say."""
    figures = read_figures()
    yield either(to, "## Ce que les détecteurs trouvent", "## What the detectors find")
    recall, precision = words.percent(figures.recall, to), words.percent(figures.precision, to)
    documents, month = words.number(figures.documents, to), words.month(figures.date, to)
    yield either(
        to,
        f"Mesuré en {month} sur {documents} documents écrits à la main, de valeurs inventées, par quelqu'un qui ne "
        f"connaissait pas les détecteurs : rappel {recall}, précision {precision}. **Ce ne sont pas des chiffres de ce "
        "corpus**, dont aucun texte n'est étiqueté.",
        f"Measured in {month} on {documents} documents written by hand, with invented values, by somebody who did not "
        f"know the detectors: recall {recall}, precision {precision}. **These are no figures of this corpus**, of "
        "which no text is labelled.",
    )
    head = either(to, "donnée|valeurs|trouvées|détections|justes", "datum|values|found|findings|right").split("|")
    rows = []
    for kind, own in figures.kinds.items():
        counts = (own.values, own.found, own.findings, own.right)
        rows.append((either(to, *NAMES[kind]), *(words.number(value, to) for value in counts)))
    yield table(head, rows, numbers=range(1, 5))
    yield either(
        to,
        "Non cherchés : les noms sans titre (à moins qu'un modèle ne soit demandé), les pièces d'identité, les "
        "plaques, et ce qui désigne quelqu'un sans être un numéro : une maladie rare, une fonction, une citation.",
        "Not looked for: names without a title (unless a model is asked), identity papers, number plates, and what "
        "singles somebody out without being a number: a rare disease, a post held, a quotation.",
    )
