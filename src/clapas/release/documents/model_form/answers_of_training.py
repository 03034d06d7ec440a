"""What the form asks of the training: its design, its time, computing and energy, and what an inference takes."""

from __future__ import annotations

from clapas.release.documents import compute_text, energy_text
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import block, code, plain
from clapas.release.documents.words import Language, chosen, either, listed, number, significant
from clapas.release.evidence.evidence import Evidence
from clapas.release.stems import Part, parts

DAY = 86400
MONTH = 30.4 * DAY
RANGES = (
    (MONTH, ("moins d'un mois", "less than 1 month")),
    (3 * MONTH, ("un à trois mois", "1–3 months")),
    (6 * MONTH, ("trois à six mois", "3–6 months")),
    (float("inf"), ("plus de six mois", "more than 6 months")),
)
"""The form's ranges of wall-clock time, each up to a number of seconds."""
INFERENCE_TOKENS = 100_000
"""Tokens that the stated task generates: the form's own example."""
OBJECTIVES = {
    "language_modelling": ("prédiction du jeton suivant", "next-token prediction"),
    "sft": ("affinage supervisé", "supervised fine-tuning"),
    "distillation": ("distillation", "distillation"),
    "dpo": ("optimisation directe des préférences (DPO)", "direct preference optimisation (DPO)"),
    "ipo": ("optimisation des préférences (IPO)", "identity preference optimisation (IPO)"),
    "kto": ("optimisation des préférences (KTO)", "Kahneman-Tversky optimisation (KTO)"),
    "orpo": ("optimisation des préférences (ORPO)", "odds-ratio preference optimisation (ORPO)"),
    "grpo": ("apprentissage par renforcement (GRPO)", "reinforcement learning (GRPO)"),
}


def answers_of_training(facts: Facts, language: Language) -> dict[str, str]:
    """Item -> answer, in Markdown."""
    evidence = facts.evidence
    return {
        "process": _process(evidence, language),
        "rationale": block(facts.answers.documentation.training.said(language), 4),
        "time": _time(facts, language),
        "compute": compute_text.computation(facts, language),
        "compute_method": compute_text.computation_method(facts, language),
        "energy": energy_text.amount(facts, language),
        "energy_method": energy_text.methodology(facts, language),
        "inference": compute_text.flop(inference_flops(evidence), language),
        "inference_method": _inference_method(evidence, language),
        "law": compute_text.law(facts, language),
    }


def inference_flops(evidence: Evidence) -> float:
    """Of generating `INFERENCE_TOKENS` tokens, in texts as long as the model's longest, without a prompt.

    2 operations per multiplying parameter and token, and 4 L H D per position that attention looks at: on average half
    of the longest text.
    """
    model = evidence.model
    attention = 4 * model["num_hidden_layers"] * model["num_attention_heads"] * model["head_dim"]
    per_token = 2 * evidence.active_parameters + attention * model["max_position_embeddings"] / 2
    return per_token * INFERENCE_TOKENS


def _inference_method(evidence: Evidence, language: Language) -> str:
    tokens, longest = number(INFERENCE_TOKENS, language), number(evidence.model["max_position_embeddings"], language)
    return either(
        language,
        f"Tâche : générer {tokens} jetons, un texte à la fois, en textes de {longest} jetons sans amorce. Calculé : 2 "
        "opérations par paramètre qui multiplie et par jeton, et l'attention ; ne dépend d'aucun matériel.",
        f"Task: generating {tokens} tokens, one text at a time, in texts of {longest} tokens without a prompt. "
        "Computed: 2 operations per multiplying parameter and token, and attention; it depends on no hardware.",
    )


def _process(evidence: Evidence, language: Language) -> str:
    """Every run of the lineage by its objective, then the settings of this one."""
    recipe = evidence.recipe
    runs = [f"{code(part.name)} ({_objective(part, language)})" for part in reversed(parts(evidence))]
    lengths = listed([number(length, language) for length in evidence.sequence_lengths], language)
    steps, tokens = number(evidence.step, language), number(evidence.tokens, language)
    optimizer, schedule = plain(recipe["optimizer"]["name"]), plain(recipe["schedule"]["name"])
    return either(
        language,
        f"Entraînements, dans l'ordre : {listed(runs, 'fr')}. Le dernier : {steps} pas, {tokens} jetons, séquences de "
        f"{lengths} jetons, optimiseur {optimizer}, calendrier {schedule}, précision {plain(recipe['precision'])}.",
        f"Runs, in order: {listed(runs, 'en')}. The last: {steps} steps, {tokens} tokens, sequences of {lengths} "
        f"tokens, optimizer {optimizer}, schedule {schedule}, precision {plain(recipe['precision'])}.",
    )


def _objective(part: Part, language: Language) -> str:
    adapters = either(language, ", par adaptateurs LoRA", ", by LoRA adapters") if part.has_adapters else ""
    return either(language, *OBJECTIVES[part.objective["name"]]) + adapters


def _time(facts: Facts, language: Language) -> str:
    """Wall-clock days and days of hardware, over all runs."""
    runs = parts(facts.evidence)
    wall, hardware = sum(part.seconds for part in runs), sum(part.accelerator_seconds for part in runs)
    bound = next(names for limit, names in RANGES if wall <= limit)
    least = either(language, "au moins ", "at least ") if facts.evidence.missing_stems else ""
    machines = plain(facts.answers.energy.hardware.said(language))
    return either(
        language,
        f"{least}{_days(wall, 'fr')} d'horloge ({bound[0]}) ; {_days(hardware, 'fr')} d'accélérateur ({machines}).",
        f"{least}{_days(wall, 'en')} of wall clock ({bound[1]}); {_days(hardware, 'en')} of hardware ({machines}).",
    )


def _days(seconds: float, language: Language) -> str:
    """To three significant figures: 46,3 jours."""
    days = seconds / DAY
    unit = chosen(days, either(language, "jour", "day"), either(language, "jours", "days"), language)
    return f"{significant(days, 3, language)}\u00a0{unit}"
