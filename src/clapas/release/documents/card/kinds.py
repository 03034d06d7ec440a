"""What kind of model a run makes, in words: what its objective taught it, and what it is not."""

from __future__ import annotations

from dataclasses import dataclass

from clapas.release.evidence.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Kind:
    """tag: for the Hub. fr, en: what the model is, as a noun with what it learned from; said of it in one sentence."""

    tag: str
    fr: str
    en: str


BASE_FR = (
    "C'est un modèle de base : il prolonge un texte. Il n'a appris ni à répondre à des questions ni à suivre des "
    "consignes, et n'a reçu aucun alignement"
)
BASE_EN = (
    "It is a base model: it continues a text. It has learned neither to answer questions nor to follow instructions, "
    "and was not aligned"
)
CONTINUED = Kind(
    "continued-pretraining",
    "Il poursuit le pré-entraînement d'un autre modèle sur de nouveaux textes",
    "It continues the pretraining of another model on new text",
)
KINDS = {
    "language_modelling": Kind("pretrained", BASE_FR, BASE_EN),
    "sft": Kind(
        "sft",
        "C'est un modèle affiné sur des exemples de conversations (SFT, *supervised fine-tuning*) : il a appris à "
        "écrire les réponses de l'assistant",
        "It is a model fine-tuned on example conversations (SFT): it has learned to write the assistant's answers",
    ),
    "dpo": Kind(
        "dpo",
        "C'est un modèle aligné sur des paires de réponses, la préférée et l'autre, par DPO (*direct preference "
        "optimization*)",
        "It is a model aligned on pairs of answers, the preferred one and the other, by DPO (direct preference "
        "optimization)",
    ),
    "ipo": Kind(
        "ipo",
        "C'est un modèle aligné sur des paires de réponses, la préférée et l'autre, par IPO (*identity preference "
        "optimization*)",
        "It is a model aligned on pairs of answers, the preferred one and the other, by IPO (identity preference "
        "optimization)",
    ),
    "kto": Kind(
        "kto",
        "C'est un modèle aligné sur des réponses jugées bonnes ou mauvaises, par KTO (*Kahneman-Tversky optimization*)",
        "It is a model aligned on answers judged good or bad, by KTO (Kahneman-Tversky optimization)",
    ),
    "orpo": Kind(
        "orpo",
        "C'est un modèle affiné et aligné à la fois, sur des paires de réponses, par ORPO (*odds ratio preference "
        "optimization*)",
        "It is a model fine-tuned and aligned at once, on pairs of answers, by ORPO (odds ratio preference "
        "optimization)",
    ),
    "grpo": Kind(
        "grpo",
        "C'est un modèle entraîné par renforcement : il a écrit des réponses que des règles vérifiables ont notées "
        "(GRPO, *group relative policy optimization*)",
        "It is a model trained by reinforcement: it wrote answers that verifiable rules scored (GRPO, group relative "
        "policy optimization)",
    ),
    "distillation": Kind(
        "distillation",
        "C'est un modèle distillé : il a appris à prédire comme un autre modèle, son maître",
        "It is a distilled model: it has learned to predict as another model does, its teacher",
    ),
}
"""By the name of the objective (`clapas.tune.config`)."""


def first_weights(evidence: Evidence) -> bool:
    """Whether this run, or one that it branched from, began with the weights of another model."""
    return any(base.role == "weights" for base in evidence.bases)


def kind_of(evidence: Evidence) -> Kind:
    """The kind of model; that of an unknown objective is told by its name."""
    if evidence.objective == "language_modelling" and first_weights(evidence):
        return CONTINUED
    name = evidence.objective
    unknown = Kind(name, f"Son entraînement a pour objectif « {name} »", f"It was trained with the objective “{name}”")
    return KINDS.get(name, unknown)
