"""What the form asks of the model itself: identity, properties, distribution, use."""

from __future__ import annotations

from clapas.release.documents.card.identity import ARCHITECTURES
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import address, block, code, plain, table
from clapas.release.documents.training_content.summary import dependencies
from clapas.release.documents.words import Language, date, either, number, power_of_ten, size

RANGES = (
    (5e8, "1 – 500 M"),
    (5e9, "500 M – 5 B"),
    (1.5e10, "5 B – 15 B"),
    (5e10, "15 B – 50 B"),
    (1e11, "50 B – 100 B"),
    (5e11, "100 B – 500 B"),
    (1e12, "500 B – 1 T"),
    (float("inf"), "> 1 T"),
)
"""The form's ranges of parameters, each below a number."""


def answers_of_model(facts: Facts, language: Language) -> dict[str, str]:
    """Item -> answer, in Markdown."""
    return _identity(facts, language) | _properties(facts, language) | _use(facts, language)


def _identity(facts: Facts, language: Language) -> dict[str, str]:
    model, provider = facts.answers.model, facts.answers.provider
    released = next((c.date for c in facts.answers.changes if c.version == model.version), model.on_market)
    hashes = table(
        (either(language, "fichier", "file"), "SHA-256"),
        [(code(name), code(digest)) for name, digest in sorted(facts.digests.items())],
    )
    signed = either(
        language,
        "Le dossier entier est signé (`model.sig`) ; `VERIFY.md` dit comment le vérifier. Fichiers de poids :",
        "The whole folder is signed (`model.sig`); `VERIFY.md` tells how to check it. Files of weights:",
    )
    return {
        "updated": date(facts.date, language),
        "version": plain(model.version),
        "provider": f"{plain(provider.name)}, {plain(provider.address)} ({provider.country})",
        "name": f"{plain(model.name)} {plain(model.version)} ({plain(model.repository)})",
        "authenticity": f"{signed}\n\n{hashes}",
        "release": date(released, language),
        "market": date(model.on_market, language),
        "dependencies": dependencies(facts, language),
    }


def _properties(facts: Facts, language: Language) -> dict[str, str]:
    model = facts.evidence.model
    kind = ARCHITECTURES.get(model["architecture"], model["architecture"])
    longest = number(model["max_position_embeddings"], language)
    text = either(language, "Texte", "Text")
    head = (either(language, "dimension", "dimension"), either(language, "valeur", "value"))
    rows = [(code(name), plain(str(value))) for name, value in sorted(model.items()) if value is not None]
    at_most = either(
        language,
        f"au plus {longest} jetons, entrée et sortie ensemble",
        f"at most {longest} tokens, input and output together",
    )
    bound = next(name for limit, name in RANGES if facts.parameters <= limit)
    return {
        "architecture": either(
            language,
            f"Transformeur décodeur seul, de la famille {kind} : attention causale, RMSNorm, SwiGLU, "
            "positions rotatives.",
            f"Decoder-only transformer of the {kind} family: causal attention, RMSNorm, SwiGLU, rotary positions.",
        ),
        "design": f"{block(facts.answers.documentation.design.said(language), 4)}\n\n{table(head, rows)}",
        "input": f"☒ {text} ({at_most})   ☐ Image   ☐ Audio   ☐ {either(language, 'Vidéo', 'Video')}",
        "output": f"☒ {text} ({at_most})   ☐ Image   ☐ Audio   ☐ {either(language, 'Vidéo', 'Video')}",
        "size": either(
            language,
            f"{number(facts.parameters, 'fr')} paramètres ({power_of_ten(facts.parameters, 'fr')}) ; tranche : {bound}",
            f"{number(facts.parameters, 'en')} parameters ({power_of_ten(facts.parameters, 'en')}); range: {bound}",
        ),
    }


def _use(facts: Facts, language: Language) -> dict[str, str]:
    answers = facts.answers
    formats = ["safetensors", *(f"GGUF {name}" for name in facts.gguf)]
    weights, context = sum(facts.files.values()), facts.evidence.model["max_position_embeddings"]
    model = facts.evidence.model
    cache = 4 * model["num_hidden_layers"] * model["num_key_value_heads"] * model["head_dim"] * context
    restricted = block(answers.use.out_of_scope.said(language), 4)
    return {
        "channels": either(
            language,
            f"Dépôt ouvert : {plain(answers.model.repository)}, en {', '.join(formats)}. Poids, architecture et "
            "documents sont publics, sans inscription.",
            f"Open repository: {plain(answers.model.repository)}, as {', '.join(formats)}. Weights, architecture and "
            "documents are public, without registration.",
        ),
        "licence": either(
            language,
            f"{plain(answers.model.licence)} (licence libre ; texte : `LICENSE`), pour les poids, le découpeur en "
            "jetons et les documents ; attributions : `NOTICE`.",
            f"{plain(answers.model.licence)} (free licence; text: `LICENSE`), of weights, tokenizer and documents; "
            "attributions: `NOTICE`.",
        ),
        "acceptable": block(answers.use.acceptable.said(language), 4),
        "intended": f"{block(answers.use.intended.said(language), 4)}\n\n"
        f"{either(language, 'Exclues :', 'Restricted:')} {restricted}",
        "systems": block(answers.documentation.systems.said(language), 4),
        "integration": either(
            language,
            f"Par `transformers`, sans code du fournisseur ; exemple : `README.md`. Aide : "
            f"{address(answers.contacts.questions)}.",
            f"By `transformers`, without code of the provider's; example: `README.md`. Help: "
            f"{address(answers.contacts.questions)}.",
        ),
        "hardware": either(
            language,
            f"Mémoire : {size(weights, 'fr')} pour les poids et {size(cache, 'fr')} pour le cache d'un texte de "
            "longueur maximale, en 16 bits ; processeur ou carte graphique.",
            f"Memory: {size(weights, 'en')} for the weights and {size(cache, 'en')} for the cache of a text of the "
            "greatest length, in 16 bits; a CPU or a GPU.",
        ),
        "software": _software(facts, language),
    }


def _software(facts: Facts, language: Language) -> str:
    version = facts.config.get("transformers_version")
    needed = either(language, "`transformers` et `torch`", "`transformers` and `torch`")
    known = f" ({plain(str(version))})" if version else ""
    gguf = (
        either(language, " ; `llama.cpp` pour les fichiers GGUF", "; `llama.cpp` for the GGUF files")
        if facts.gguf
        else ""
    )
    return f"{needed}{known}{gguf}."
