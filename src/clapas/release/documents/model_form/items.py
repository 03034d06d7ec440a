"""The form's items, in its order: Code of Practice for general-purpose AI models, transparency chapter, measure 1.1.

The English is the form's wording, the French ours. The last section is not of the form: what the law makes of it.
"""

from __future__ import annotations

TITLE = ("Formulaire de documentation du modèle", "Model Documentation Form")
ITEMS: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("Document", "Document"): {
        "updated": ("Date de dernière mise à jour", "Date this document was last updated"),
        "version": ("Version du document", "Document version number"),
    },
    ("Informations générales", "General information"): {
        "provider": ("Dénomination légale du fournisseur", "Legal name for the model provider"),
        "name": ("Nom du modèle", "Model name"),
        "authenticity": ("Authenticité du modèle", "Model authenticity"),
        "release": ("Date de publication", "Release date"),
        "market": ("Date de mise sur le marché de l'Union", "Union market release date"),
        "dependencies": ("Modèles dont il dépend", "Model dependencies"),
    },
    ("Propriétés du modèle", "Model properties"): {
        "architecture": ("Architecture du modèle", "Model architecture"),
        "design": ("Spécifications de conception du modèle", "Design specifications of the model"),
        "input": ("Modalités d'entrée et taille maximale", "Input modalities and maximum size"),
        "output": ("Modalités de sortie et taille maximale", "Output modalities and maximum size"),
        "size": ("Taille totale du modèle", "Total model size"),
    },
    ("Distribution et licences", "Methods of distribution and licenses"): {
        "channels": ("Canaux de distribution", "Distribution channels"),
        "licence": ("Licence", "License"),
    },
    ("Utilisation", "Use"): {
        "acceptable": ("Politique d'utilisation acceptable", "Acceptable Use Policy"),
        "intended": ("Utilisations prévues et exclues", "Intended, and restricted, uses"),
        "systems": (
            "Type et nature des systèmes d'IA dans lesquels le modèle peut être intégré",
            "Type and nature of AI systems in which the general-purpose AI model can be integrated",
        ),
        "integration": ("Moyens techniques d'intégration", "Technical means for model integration"),
        "hardware": ("Matériel requis", "Required hardware"),
        "software": ("Logiciels requis", "Required software"),
    },
    ("Processus d'entraînement", "Training process"): {
        "process": (
            "Spécifications de conception du processus d'entraînement",
            "Design specifications of the training process",
        ),
        "rationale": ("Raisons des choix", "Decision rationale"),
    },
    (
        "Données d'entraînement, de test et de validation",
        "Information on the data used for training, testing, and validation",
    ): {
        "type": ("Type et modalité des données", "Data type/modality"),
        "provenance": ("Provenance des données", "Data provenance"),
        "obtained": ("Comment les données ont été obtenues et choisies", "How data was obtained and selected"),
        "points": ("Nombre de données", "Number of data points"),
        "scope": ("Portée et caractéristiques principales", "Scope and main characteristics"),
        "curation": ("Méthodes de préparation des données", "Data curation methodologies"),
        "unsuitable": (
            "Mesures de détection des sources de données inadaptées",
            "Measures to detect unsuitability of data sources",
        ),
        "biases": ("Mesures de détection des biais identifiables", "Measures to detect identifiable biases"),
    },
    ("Ressources de calcul (entraînement)", "Computational resources (during training)"): {
        "time": ("Durée de l'entraînement", "Training time"),
        "compute": ("Quantité de calcul de l'entraînement", "Amount of computation used for training"),
        "compute_method": ("Méthode de mesure du calcul", "Measurement methodology of computation"),
    },
    ("Énergie (entraînement et inférence)", "Energy consumption (during training and inference)"): {
        "energy": ("Énergie de l'entraînement", "Amount of energy used for training"),
        "energy_method": ("Méthode de mesure de l'énergie", "Measurement methodology of energy"),
        "inference": (
            "Quantité de calcul d'une inférence de référence",
            "Benchmarked amount of computation used for inference",
        ),
        "inference_method": ("Méthode de mesure de l'inférence", "Measurement methodology of inference"),
    },
    ("Seuils du règlement sur l'IA", "Thresholds of the AI Act"): {
        "law": ("Seuils de calcul et obligations", "Thresholds of compute, and duties"),
    },
}
