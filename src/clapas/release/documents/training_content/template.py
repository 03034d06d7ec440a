"""The Commission's template, section by section: what is asked, in its words and in French.

Explanatory notice and template for the public summary of training content for general-purpose AI models required by
article 53(1)(d) of regulation (EU) 2024/1689: C(2025) 5235, then C(2025) 8311 of 5 December 2025, annex. The English is
the Commission's wording, shortened where it explains; the French is ours where it is not the regulation's.
"""

from __future__ import annotations

from dataclasses import dataclass

from clapas.release.documents.words import Language

TITLE = {
    "fr": "Résumé public du contenu utilisé pour l'entraînement",
    "en": "Public Summary of Training Content for General-Purpose AI models",
}
SECTIONS: dict[str, dict[Language, str]] = {
    "1": {"fr": "1. Informations générales", "en": "1. General information"},
    "1.1": {"fr": "1.1. Identification du fournisseur", "en": "1.1. Provider identification"},
    "1.2": {"fr": "1.2. Identification du modèle", "en": "1.2. Model identification"},
    "1.3": {
        "fr": "1.3. Modalités, volume total des données d'entraînement et autres caractéristiques",
        "en": "1.3. Modalities, overall training data size and other characteristics",
    },
    "2": {"fr": "2. Liste des sources de données", "en": "2. List of data sources"},
    "2.1": {"fr": "2.1. Ensembles de données accessibles au public", "en": "2.1. Publicly available datasets"},
    "2.2": {
        "fr": "2.2. Ensembles de données privés, non accessibles au public, obtenus de tiers",
        "en": "2.2. Private non-publicly available datasets obtained from third parties",
    },
    "2.2.1": {
        "fr": "2.2.1. Ensembles de données sous licence commerciale des titulaires de droits ou de leurs représentants",
        "en": "2.2.1. Datasets commercially licensed by rightsholders or their representatives",
    },
    "2.2.2": {
        "fr": "2.2.2. Ensembles de données privés obtenus d'autres tiers",
        "en": "2.2.2. Private datasets obtained from other third parties",
    },
    "2.3": {
        "fr": "2.3. Données collectées sur l'internet (moissonnage et extraction)",
        "en": "2.3. Data crawled and scraped from online sources",
    },
    "2.4": {"fr": "2.4. Données des utilisateurs", "en": "2.4. User data"},
    "2.5": {"fr": "2.5. Données synthétiques", "en": "2.5. Synthetic data"},
    "2.6": {"fr": "2.6. Autres sources de données", "en": "2.6. Other sources of data"},
    "3": {"fr": "3. Traitement des données", "en": "3. Data processing aspects"},
    "3.1": {
        "fr": "3.1. Respect de la réserve de droits (exception ou limitation pour la fouille de textes et de données)",
        "en": "3.1. Respect of reservation of rights from text and data mining exception or limitation",
    },
    "3.2": {"fr": "3.2. Retrait des contenus illicites", "en": "3.2. Removal of illegal content"},
    "3.3": {"fr": "3.3. Autres informations", "en": "3.3. Other information"},
}


@dataclass(frozen=True, slots=True)
class Question:
    """section: where it stands. always: whether every summary answers it; others follow from a yes."""

    section: str
    fr: str
    en: str
    always: bool = True

    def asked(self, language: Language) -> str:
        """In `fr` or `en`."""
        return self.fr if language == "fr" else self.en


QUESTIONS: dict[str, Question] = {
    "version": Question("", "Version du résumé", "Version of the Summary"),
    "update": Question("", "Dernière mise à jour", "Last update"),
    "provider": Question("1.1", "Nom et coordonnées du fournisseur", "Provider name and contact details"),
    "representative": Question(
        "1.1", "Nom et coordonnées du mandataire", "Authorised representative name and contact details"
    ),
    "names": Question("1.2", "Nom(s) du modèle, avec version", "Versioned model name(s)"),
    "dependencies": Question("1.2", "Modèles dont il dépend", "Model dependencies"),
    "market": Question(
        "1.2",
        "Date de mise sur le marché de l'Union",
        "Date of placement of the model on the Union market",
    ),
    "modality": Question("1.3", "Modalité, volume et types de contenus", "Modality, size and types of content"),
    "latest": Question(
        "1.3",
        "Dernière date d'acquisition ou de collecte des données d'entraînement",
        "Latest date of data acquisition/collection for model training",
    ),
    "languages": Question(
        "1.3",
        "Caractéristiques linguistiques de l'ensemble des données d'entraînement",
        "Description of the linguistic characteristics of the overall training data",
    ),
    "characteristics": Question(
        "1.3",
        "Autres caractéristiques pertinentes de l'ensemble des données d'entraînement",
        "Other relevant characteristics of the overall training data",
    ),
    "public": Question(
        "2.1",
        "Des ensembles de données accessibles au public ont-ils servi à entraîner le modèle ?",
        "Have you used publicly available datasets to train the model?",
    ),
    "large": Question(
        "2.1",
        "Liste des grands ensembles de données accessibles au public",
        "List of large publicly available datasets",
        always=False,
    ),
    "others": Question(
        "2.1",
        "Description générale des autres ensembles de données accessibles au public",
        "General description of other publicly available datasets not listed above",
        always=False,
    ),
    "licensed": Question(
        "2.2.1",
        "Des accords de licence commerciale ont-ils été conclus avec des titulaires de droits ou leurs représentants ?",
        "Have you concluded transactional commercial licensing agreement(s) with rightsholder(s) or with their "
        "representatives?",
    ),
    "licensed_data": Question("2.2.1", "Données concernées", "Data concerned", always=False),
    "private": Question(
        "2.2.2",
        "Des ensembles de données privés, hors licences du point 2.2.1, ont-ils été obtenus de tiers (fournisseurs de "
        "bases de données privées, intermédiaires de données) ?",
        "Have you obtained private datasets from third parties that are not licensed as described in Section 2.2.1, "
        "such as data obtained from providers of private databases, or data intermediaries?",
    ),
    "private_data": Question(
        "2.2.2",
        "Description générale des ensembles de données privés",
        "General description of the private datasets obtained from third parties",
        always=False,
    ),
    "crawled": Question(
        "2.3",
        "Des robots d'indexation ont-ils été employés par le fournisseur ou pour son compte ?",
        "Were crawlers used by the provider or on behalf of?",
    ),
    "crawlers": Question(
        "2.3",
        "Nom des robots, leur but, leur comportement et la période de collecte",
        "Crawler name(s)/identifier(s), purposes, behaviour and period of data collection",
        always=False,
    ),
    "online": Question(
        "2.3",
        "Types de contenus et sources en ligne collectés",
        "Comprehensive description of the type of content and online sources crawled",
        always=False,
    ),
    "domains": Question(
        "2.3",
        "Noms de domaine les plus importants",
        "Summary of the most relevant domain names crawled",
        always=False,
    ),
    "prompts": Question(
        "2.4",
        "Des données d'interactions d'utilisateurs avec le modèle d'IA ont-elles servi à l'entraîner ?",
        "Was data from user interactions with the AI model (e.g. user input and prompts) used to train the model?",
    ),
    "services": Question(
        "2.4",
        "Des données recueillies par d'autres services ou produits du fournisseur ont-elles servi à l'entraîner ?",
        "Was data collected from user interactions with the provider's other services or products used to train the "
        "model?",
    ),
    "user_data": Question(
        "2.4",
        "Description générale des services ou produits et des données",
        "General description of the services or products, and of the data",
        always=False,
    ),
    "synthetic": Question(
        "2.5",
        "Des données synthétiques produites par l'IA, par le fournisseur ou pour son compte, ont-elles servi à "
        "entraîner le modèle ?",
        "Was synthetic AI-generated data created by the provider or on their behalf to train the model?",
    ),
    "generators": Question(
        "2.5",
        "Modèles d'IA qui ont produit ces données, et description des données",
        "AI model(s) used to generate the synthetic data, and description of the data",
        always=False,
    ),
    "other": Question(
        "2.6",
        "D'autres sources de données que celles des points 2.1 à 2.5 ont-elles été employées ?",
        "Have data sources other than those described in Sections 2.1 to 2.5 been used to train the model?",
    ),
    "other_data": Question(
        "2.6",
        "Description de ces sources et de ces données",
        "Narrative description of these data sources and the data",
        always=False,
    ),
    "signatory": Question(
        "3.1",
        "Le fournisseur est-il signataire du code de bonnes pratiques, dont les engagements portent aussi sur la "
        "réserve de droits ?",
        "Are you a Signatory to the Code of Practice for general-purpose AI models that includes commitments to "
        "respect reservations of rights from the TDM exception or limitation?",
    ),
    "reservations": Question(
        "3.1",
        "Mesures prises pour respecter la réserve de droits, avant et pendant la collecte, avec les protocoles "
        "d'opposition reconnus",
        "Measures implemented to respect reservations of rights from the TDM exception or limitation before and "
        "during data collection, including the opt-out protocols and solutions honoured",
    ),
    "complaints": Question(
        "3.1",
        "Réclamations des titulaires de droits et demandes de retrait",
        "Complaints of rightsholders and requests for removal",
    ),
    "illegal": Question("3.2", "Description générale des mesures prises", "General description of measures taken"),
    "steps": Question(
        "3.3",
        "Traitements appliqués aux données et ce qu'ils ont retiré",
        "Processing steps, and what they removed",
    ),
}
