"""What the model is: a paragraph, a table at a glance, and the models that it stands on."""

from __future__ import annotations

from clapas.release.documents import words
from clapas.release.documents.card.kinds import kind_of
from clapas.release.documents.card.nouns import counted
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import block, code, link, plain, table
from clapas.release.documents.words import Language, either
from clapas.release.evidence.evidence import BaseFacts

ARCHITECTURES = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "qwen3_moe": "Qwen3-MoE"}
LANGUAGES = {
    "fr": {"fr": "français", "en": "anglais", "de": "allemand", "es": "espagnol", "it": "italien", "oc": "occitan",
           "br": "breton", "ca": "catalan", "eu": "basque", "co": "corse", "pt": "portugais", "nl": "néerlandais"},
    "en": {"fr": "French", "en": "English", "de": "German", "es": "Spanish", "it": "Italian", "oc": "Occitan",
           "br": "Breton", "ca": "Catalan", "eu": "Basque", "co": "Corsican", "pt": "Portuguese", "nl": "Dutch"},
}  # fmt: skip
"""Those that models for France meet; another is told by its code."""


def introduction(facts: Facts, to: Language) -> str:
    """What the model is, by whom, and what kind of model that makes it."""
    kind = kind_of(facts.evidence)
    adapted = either(to, _adapters_fr(facts), _adapters_en(facts))
    return f"{block(facts.answers.model.summary.said(to), 4)}\n\n{either(to, kind.fr, kind.en)}.{adapted}\n"


def _adapters_fr(facts: Facts) -> str:
    adapters = facts.evidence.adapters
    if adapters is None:
        return ""
    return (
        f" Seuls des adaptateurs {_method(adapters)} de rang {adapters['rank']} ont été entraînés ; ils sont fusionnés "
        "dans les poids publiés."
    )


def _adapters_en(facts: Facts) -> str:
    adapters = facts.evidence.adapters
    if adapters is None:
        return ""
    return f" Only {_method(adapters)} adapters of rank {adapters['rank']} were trained; the weights hold them merged."


def _method(adapters: dict[str, object]) -> str:
    name = "DoRA" if adapters.get("dora") else "rsLoRA" if adapters.get("rslora") else "LoRA"
    return f"Q{name}" if adapters.get("quantize") else name


def at_a_glance(facts: Facts, to: Language) -> str:
    """The table of what is asked first."""
    evidence, model, provider = facts.evidence, facts.answers.model, facts.answers.provider
    rows = [
        ("Version", "Version", f"{plain(model.version)}, {words.date(facts.date, to)}"),
        ("Éditeur", "Provider", link(provider.name, provider.website)),
        ("Licence des poids", "Licence of the weights", link(model.licence, "LICENSE")),
        ("Langues", "Languages", words.listed([_language(code, to) for code in model.languages], to)),
        ("Paramètres", "Parameters", _parameters(facts, to)),
        ("Architecture", "Architecture", _shape(facts, to)),
        ("Vocabulaire", "Vocabulary", counted(facts.config["vocab_size"], "token", to)),
        ("Contexte maximal", "Longest context", _context(facts, to)),
        ("Entraîné sur", "Trained on", counted(evidence.tokens, "token", to)),
        ("Poids publiés", "Weights", f"{words.size(sum(facts.files.values()), to)} ({_dtype(facts)})"),
    ]
    head = either(to, "En bref", "At a glance")
    gloss = either(
        to,
        "Un jeton (*token*) est un mot ou un fragment de mot : l'unité que lit et écrit le modèle.",
        "A token is a word or a part of one: the unit that the model reads and writes.",
    )
    told = table((head, ""), [(either(to, fr, en), value) for fr, en, value in rows])
    return f"{told}\n\n{gloss}\n"


def _language(code: str, to: Language) -> str:
    return LANGUAGES[to].get(code, code)


def _parameters(facts: Facts, to: Language) -> str:
    """How many there are and, of experts, how many a token uses."""
    told = words.number(facts.parameters, to)
    if facts.evidence.model.get("num_experts"):
        active = words.number(facts.evidence.active_parameters, to)
        told += either(to, f", dont {active} pour chaque jeton", f", of which a token uses {active}")
    return told


def _shape(facts: Facts, to: Language) -> str:
    shape = facts.evidence.model
    name = ARCHITECTURES.get(shape["architecture"], shape["architecture"])
    layers = counted(shape["num_hidden_layers"], "layer", to)
    width = words.number(shape["hidden_size"], to)
    return f"{name}, {layers}, " + either(to, f"largeur {width}", f"width {width}")


def _context(facts: Facts, to: Language) -> str:
    longest = counted(facts.evidence.model["max_position_embeddings"], "token", to)
    trained = words.listed([words.number(length, to) for length in facts.evidence.sequence_lengths], to)
    return f"{longest} " + either(to, f"(séquences d'entraînement : {trained})", f"(trained on sequences of {trained})")


def _dtype(facts: Facts) -> str:
    return str(facts.config.get("dtype") or facts.config.get("torch_dtype"))


def lineage(facts: Facts, to: Language) -> str:
    """The models whose weights, adapters or words went into this one; none for one from random weights."""
    bases = facts.evidence.bases
    if not bases and not facts.evidence.missing_stems:
        return ""
    head = (
        ("modèle", "rôle", "révision", "licence", "calcul d'entraînement", "empreinte des poids (SHA-256)")
        if to == "fr"
        else ("model", "role", "revision", "licence", "training compute", "hash of its weights (SHA-256)")
    )
    title = either(to, "### Modèles d'origine", "### Models that it comes from")
    told = [title, table(head, [_base(facts, base, to) for base in bases])] if bases else [title]
    if gone := facts.evidence.missing_stems:
        names = words.listed([code(name) for name in gone], to)
        told.append(
            either(to, f"Données d'entraînement inconnues ici : {names}.", f"Training data not known here: {names}.")
        )
    return "\n\n".join(told) + "\n"


ROLES = {
    "weights": ("poids de départ", "first weights"),
    "adapter": ("adaptateur de départ", "first adapter"),
    "teacher": ("maître", "teacher"),
}


def _base(facts: Facts, base: BaseFacts, to: Language) -> tuple[str, ...]:
    known = facts.answers.base_models.get(base.folder)
    flops = base.run.flops if base.run else known.training_flops if known else None
    unknown = either(to, "inconnu", "unknown")
    return (
        link(known.name, known.url) if known else code(base.folder),
        either(to, *ROLES[base.role]),
        plain(known.revision) if known else "",
        plain(known.licence if known else base.declared_licence or ""),
        unknown if flops is None else f"{words.power_of_ten(flops, to)} FLOP",
        code(base.seal) if base.seal else "",
    )
