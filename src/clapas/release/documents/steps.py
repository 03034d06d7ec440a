"""The steps of a build of data, as people say what each does; a step that is not known here keeps its name alone."""

from __future__ import annotations

from clapas.release.documents.markdown import code
from clapas.release.documents.words import Language, colon, either

STEPS = {
    "extract": ("extraction du texte", "extraction of text"),
    "clean": ("nettoyage", "cleaning"),
    "deduplicate": ("dédoublonnage", "removal of duplicates"),
    "hold out": ("mise à l'écart de textes de validation", "holding out of validation text"),
    "decontaminate": ("retrait de ce qui leur ressemble", "removal of what is close to it"),
    "tokenize": ("découpage en jetons, textes de validation compris", "cutting into tokens, validation text included"),
    "boilerplate": ("retrait des lignes propres à un site", "removal of a site's own lines"),
    "c4": ("retrait du code, des mentions légales et des textes trop courts, règles de C4",
           "removal of code, policies and texts that are too short, by C4's rules"),
    "decontaminate.evaluations": ("retrait de ce qui figure dans des jeux d'évaluation",
                                  "removal of what stands in evaluation sets"),
    "deduplicate.exact": ("dédoublonnage des textes identiques", "removal of equal texts"),
    "deduplicate.lines": ("retrait des lignes que répètent beaucoup de documents",
                          "removal of lines that many documents repeat"),
    "deduplicate.near": ("dédoublonnage des textes presque identiques", "removal of nearly equal texts"),
    "fineweb": ("retrait des listes et des menus, règles de FineWeb", "removal of lists and menus, by FineWeb's rules"),
    "gopher.quality": ("retrait de ce qui n'est pas de la prose, règles de Gopher",
                       "removal of what is no prose, by Gopher's rules"),
    "gopher.repetition": ("retrait de ce qui se répète, règles de Gopher",
                          "removal of what repeats itself, by Gopher's rules"),
    "language": ("retrait des documents dans d'autres langues", "removal of documents in other languages"),
    "language.paragraphs": ("retrait des paragraphes dans d'autres langues",
                            "removal of paragraphs in other languages"),
    "ocr": ("retrait des textes mal lus d'un document numérisé", "removal of texts that were misread from a scan"),
    "opt_out": ("retrait des documents de ceux qui s'y opposent", "removal of the documents of those who opted out"),
    "perplexity": ("retrait des textes trop éloignés d'une référence", "removal of texts too far from a reference"),
    "personal": ("remplacement de données personnelles et de santé", "replacement of personal and health data"),
    "repair": ("réparation des caractères mal codés", "mending of characters that were decoded wrong"),
    "repetition": ("retrait des lignes et paragraphes répétés", "removal of repeated lines and paragraphs"),
    "typography": ("apostrophes et espaces insécables uniformes", "uniform apostrophes and no-break spaces"),
    "words": ("retrait de textes d'après des listes de mots", "removal of texts by lists of words"),
}  # fmt: skip
"""Those of every build in their order, then those that a corpus file may name."""


def step_said(name: str, language: Language) -> str:
    """A step's name, and what it does: `extract`: extraction of text."""
    return code(name) + (f"{colon(language)} {either(language, *STEPS[name])}" if name in STEPS else "")
