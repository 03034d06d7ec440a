"""The model card, in French: what the model is, what it was made from, what was measured; all from the evidence.

Nothing is claimed that the ledger, the manifest or the recipe does not say. What was not measured says so.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import yaml

from clapas.ledger.ledger import NOT_MEASURED, Totals
from clapas.recipe.recipe import Recipe
from clapas_data.manifest import Manifest

SPACE = "\u202f"  # the narrow no-break space between groups of digits in French
ARCHITECTURES = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "qwen3_moe": "Qwen3-MoE"}


def number(value: float) -> str:
    """A whole number as French writes it: 3 000 000."""
    return f"{value:,.0f}".replace(",", SPACE)


def french(value: float) -> str:
    """A number in as many digits as it has: 0,004."""
    return f"{value:g}".replace(".", ",")


def decimal(value: float, digits: int) -> str:
    """A decimal number as French writes it: 1,28."""
    return f"{value:.{digits}f}".replace(".", ",")


def power_of_ten(value: float) -> str:
    """A large number as French writes it: 3,07 × 10^10."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.replace('.', ',')} × 10^{int(exponent)}"


def model_card(
    recipe: Recipe, manifest: Manifest, totals: Totals, licence: str, hosts: int, newest: Manifest | None = None
) -> str:
    """The card's Markdown with its YAML metadata. licence: SPDX identifier of the weights.

    manifest: of the data as the run read them. newest: of the same data now, where documents may have been removed.
    """
    metadata = {
        "language": ["fr"],
        "license": licence.lower(),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["clapas", "french", "pretrained"],
    }
    head = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    sections = [
        f"---\n{head}---\n",
        f"# {recipe.name}\n",
        _introduction(recipe, totals),
        _use(recipe),
        _data(manifest),
        *_removed(manifest, newest or manifest, totals),
        _training(recipe, totals, hosts),
        _evaluation(totals),
        _limits(),
        _trust(),
    ]
    return "\n".join(sections)


def _introduction(recipe: Recipe, totals: Totals) -> str:
    model = recipe.model
    return (
        f"Modèle de langue français pré-entraîné, de {number(model.parameters())} paramètres "
        f"(architecture {ARCHITECTURES[model.architecture]} : {model.num_hidden_layers} couches, "
        f"dimension {model.hidden_size}, vocabulaire de "
        f"{number(model.vocab_size)} unités), entraîné avec Clapas sur {number(totals.tokens)} unités lexicales.\n\n"
        "C'est un modèle de base : il prolonge un texte, il ne répond pas à des questions et n'a reçu aucun "
        "alignement.\n"
    )


def _use(recipe: Recipe) -> str:
    lengths = sorted({phase.sequence_length for phase in recipe.phases})
    return (
        "## Utilisation\n\n```python\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'modele = AutoModelForCausalLM.from_pretrained(".")\n'
        'decoupeur = AutoTokenizer.from_pretrained(".")\n'
        'entree = decoupeur("Le salarié a droit à", return_tensors="pt")\n'
        "print(decoupeur.decode(modele.generate(**entree, max_new_tokens=50)[0]))\n"
        f"```\n\nContexte maximal : {number(recipe.model.max_position_embeddings)} unités "
        f"(séquences d'entraînement : {' et '.join(map(number, lengths))}).\n"
    )


def _data(manifest: Manifest) -> str:
    rows = []
    for name, source in manifest.sources.items():
        places = [p for p, s in enumerate(manifest.shards) if (s.source, s.split) == (name, "train")]
        train = [manifest.left(place) for place in places]
        documents, tokens = sum(left.documents for left in train), sum(left.tokens for left in train)
        rows.append(
            f"| {name} | {source.url or '–'} | {source.revision or '–'} | {source.licence} | {number(documents)} | "
            f"{number(tokens)} |"
        )
    table = "\n".join(rows)
    return (
        "## Données d'entraînement\n\n"
        "| source | origine | révision | licence | documents | unités |\n|---|---|---|---|---|---|\n"
        f"{table}\n\nEmpreinte du corpus (SHA-256) : `{manifest.hash}`.\n"
    )


def _removed(manifest: Manifest, newest: Manifest, totals: Totals) -> list[str]:
    """Which documents of the corpus were removed, and whether the model may have read them."""
    told: list[str] = []
    removals = [] if newest.removed is None else newest.removed.removals
    since = sum(removal.documents for removal in removals if removal.revision > manifest.revision)
    before = sum(removal.documents for removal in removals if removal.revision <= manifest.revision)
    if since:
        left = "document en a été retiré" if since == 1 else "documents en ont été retirés"
        read = "le lire" if since == 1 else "les lire"
        told.append(f"{number(since)} {left} depuis cet entraînement, qui a pu {read}.\n")
    if before:
        left = "document en avait été retiré" if before == 1 else "documents en avaient été retirés"
        read = "le lire" if before == 1 else "les lire"
        branch = f" ; il part d'un modèle qui a pu {read}" if totals.branch else ""
        told.append(f"{number(before)} {left} avant cet entraînement{branch}.\n")
    return told


def _training(recipe: Recipe, totals: Totals, hosts: int) -> str:
    energy = totals.energy_joules
    joules = "non mesurée" if energy == NOT_MEASURED else f"{number(float(energy) / 3.6e6)} kWh"
    optimizer = recipe.optimizer
    sizes = " à ".join(map(number, _extremes([phase.tokens_per_step for phase in recipe.phases])))
    return (
        "## Entraînement\n\n"
        f"- {number(totals.steps)} pas de {sizes} unités, précision {recipe.precision}, "
        f"DeepSpeed ZeRO-{recipe.parallel.zero_stage}\n"
        f"- AdamW (taux {french(optimizer.lr)}, β = {french(optimizer.betas[0])} et {french(optimizer.betas[1])}, "
        f"décroissance {french(optimizer.weight_decay)}), calendrier {recipe.schedule.name}\n"
        f"- calcul du modèle : {power_of_ten(totals.flops)} FLOP (6N et attention), reprises comprises\n"
        f"- durée : {number(totals.seconds)} s en {totals.segments} segment{'s' if totals.segments > 1 else ''}, "
        f"{number(totals.accelerator_seconds)} s × rang, {hosts} machine{'s' if hosts > 1 else ''}\n"
        f"- énergie : {joules}\n{_branch(totals)}{_spikes(totals)}"
    )


def _branch(totals: Totals) -> str:
    """Where the run began, if not at its own first step."""
    if totals.branch is None:
        return ""
    return (
        f"- commencé au pas {number(totals.branch['step'])} de l'entraînement « {totals.branch['run']} » (empreinte "
        f"`{totals.branch['identity'][:16]}…`) : calcul, durée et énergie jusque-là sont au registre de celui-ci\n"
    )


def _spikes(totals: Totals) -> str:
    """What was done about spikes, if anything."""
    if not totals.rollbacks and not totals.skipped_updates:
        return ""
    return (
        f"- instabilités : {number(totals.skipped_updates)} mises à jour écartées, {number(totals.rollbacks)} retours "
        "à un point de reprise, dont les données lues depuis ont été écartées\n"
    )


def _extremes(values: list[int]) -> list[int]:
    """The least and the greatest, or the one that they are."""
    return sorted({min(values), max(values)})


def _evaluation(totals: Totals) -> str:
    lines = [
        f"- {event['split']} : {_measured(event)}, pas {number(event['step'])})"
        for event in _last_by_split(totals.evaluations)
    ]
    text = "\n".join(lines) if lines else "Aucune évaluation n'a été faite."
    return f"## Évaluation\n\nSur des documents tenus à l'écart de l'entraînement et du découpeur :\n\n{text}\n"


def _measured(event: dict[str, Any]) -> str:
    """Bits per byte and the bytes; or, of examples, the objective's loss, and the share of pairs that it gets right."""
    if event.get("bits_per_byte") is not None:
        return f"{decimal(event['bits_per_byte'], 3)} bit par octet ({number(event['text_bytes'])} octets"
    accuracy = event.get("rewards/accuracies")
    pairs = "" if accuracy is None else f", {decimal(100 * accuracy, 1)} % des paires dans le bon ordre"
    return f"perte {decimal(event['loss'], 4)}{pairs} (exemples"


def _last_by_split(evaluations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({event["split"]: event for event in evaluations}.values())


def _limits() -> str:
    return (
        "## Limites\n\n"
        "Les phrases produites peuvent être fausses, incohérentes ou reproduire des passages du corpus. Ce modèle ne "
        "donne ni conseil juridique ni conseil médical. Biais, toxicité et mémorisation : non mesurés.\n"
    )


def _trust() -> str:
    date = datetime.now(UTC).date().isoformat()
    return (
        "## Vérifier\n\n"
        "`sha256sum -c SHA256SUMS` contrôle chaque fichier ; `clapas verify .` recharge en plus le modèle dans un "
        f"processus neuf. Fiche établie le {date} d'après le registre de l'entraînement (`ledger.jsonl`).\n"
    )
