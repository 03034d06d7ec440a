"""What a card counts, in the singular and the plural of each language."""

from __future__ import annotations

from clapas.release.documents.words import Language, count

NOUNS = {
    "token": (("jeton", "jetons"), ("token", "tokens")),
    "document": (("document", "documents"), ("document", "documents")),
    "layer": (("couche", "couches"), ("layer", "layers")),
    "step": (("pas", "pas"), ("step", "steps")),
    "machine": (("machine", "machines"), ("machine", "machines")),
    "segment": (("segment", "segments"), ("segment", "segments")),
    "rank": (("rang", "rangs"), ("rank", "ranks")),
    "update": (("mise à jour écartée", "mises à jour écartées"), ("update skipped", "updates skipped")),
    "rollback": (("retour à un point de reprise", "retours à un point de reprise"), ("rollback", "rollbacks")),
}


def counted(value: int, noun: str, to: Language) -> str:
    """How many of a noun: 1 document, 2 documents."""
    singular, plural = NOUNS[noun][0 if to == "fr" else 1]
    return count(value, singular, plural, to)
