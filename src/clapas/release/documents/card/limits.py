"""What the model gets wrong: people's word, then what probes measured, or that they did not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import block, code
from clapas.release.documents.results import probes
from clapas.release.documents.words import NARROW, Language, colon, decimal, either, number, percent

NAMES = {
    "memorisation": ("Mémorisation", "Memorisation"),
    "bias": ("Biais", "Bias"),
    "toxicity": ("Toxicité", "Toxicity"),
    "refusal": ("Refus", "Refusal"),
}
AXES = {"genre": "gender", "origine": "origin", "âge": "age", "handicap": "disability"}
"""Axis of the pairs, as the shipped items name it -> in English."""


def limits(facts: Facts, to: Language) -> str:
    """A section with one line a probe."""
    found = probes(facts.evidence)
    title = either(to, "### Limites et risques", "### Limits and risks")
    lines = [f"- **{either(to, *names)}**{colon(to)} {_told(name, found, to)}" for name, names in NAMES.items()]
    said = block(facts.answers.use.limits.said(to), 4)
    told = filter(None, [title, said, _intervals(found, to), "\n".join(lines), _health(facts, to)])
    return "\n\n".join(told) + "\n"


def _told(name: str, found: dict[str, dict[str, Any]], to: Language) -> str:
    if name not in found:
        return either(to, "non mesuré.", "not measured.")
    return PROBES[name](found[name], to)


def _intervals(found: dict[str, Any], to: Language) -> str:
    """What the figures below are worth."""
    if not found:
        return ""
    files = " ".join(code(f"evaluations/{name}") for name in dict.fromkeys(probe["file"] for probe in found.values()))
    return either(
        to,
        "Sondé avec de petits jeux d'essai en français (entre parenthèses, l'intervalle de confiance à 95 %) : ce "
        f"qu'ils montrent existe, ce qu'ils ne montrent pas peut exister aussi. Relevés complets : {files}.",
        "Probed with small sets in French (in parentheses, the 95% confidence interval): what they show is there, "
        f"what they do not show may be there all the same. All records: {files}.",
    )


def _share(value: float, interval: Sequence[float], to: Language, digits: int = 0) -> str:
    """A share with its interval: 41 % (27 à 57 %)."""
    low, high = (100 * end for end in interval)
    between = either(to, " à ", " to ")
    unit = percent(interval[1], to, digits).removeprefix(decimal(high, digits, to))
    return f"{percent(value, to, digits)} ({decimal(low, digits, to)}{between}{decimal(high, digits, to)}{unit})"


def _memorisation(figures: dict[str, Any], to: Language) -> str:
    own, other, apart = figures["training"], figures["held_out"], figures["difference"]
    ours, theirs = (_share(part["exact"], part["interval"], to, 1) for part in (own, other))
    numbers = number(own["excerpts"], to), number(other["excerpts"], to)
    parts = [percent(part["prefix"], to) for part in (own, other)]
    shown = (
        either(to, "L'écart montre que le modèle restitue des passages appris", "The difference shows memorisation")
        if apart["is_shown"]
        else either(to, "Cet écart ne montre pas de mémorisation", "This difference shows no memorisation")
    )
    return either(
        to,
        f"la suite de {numbers[0]} extraits de documents lus à l'entraînement est restituée mot pour mot dans {ours} "
        f"des cas, et en moyenne à {parts[0]} ; celle de {numbers[1]} extraits de documents jamais lus, dans {theirs} "
        f"des cas, et en moyenne à {parts[1]}. {shown}.",
        f"what follows {numbers[0]} excerpts of documents read in training is repeated word for word in {ours} of "
        f"cases, and {parts[0]} of it on average; what follows {numbers[1]} excerpts of documents never read, in "
        f"{theirs}, and {parts[1]} on average. {shown}.",
    )


def _bias(figures: dict[str, Any], to: Language) -> str:
    axes = [
        f"{axis if to == 'fr' else AXES.get(axis, axis)} {percent(own['preferred'], to, 0)}"
        for axis, own in figures["axes"].items()
    ]
    share = _share(figures["preferred"], figures["interval"], to)
    return either(
        to,
        f"de {number(figures['pairs'], to)} paires de phrases qui ne diffèrent que par la personne visée, le "
        f"modèle juge plus probable celle du préjugé dans {share} des cas (50{NARROW}% : aucune préférence) ; "
        f"{', '.join(axes)}.",
        f"of {number(figures['pairs'], to)} pairs of sentences that differ only in whom they are about, the model "
        f"finds the prejudice likelier in {share} of cases (50%: no preference); {', '.join(axes)}.",
    )


def _toxicity(figures: dict[str, Any], to: Language) -> str:
    kinds = [percent(figures["kinds"][kind]["toxic"], to) for kind in ("everyday", "provoking")]
    share = _share(figures["toxic"], figures["interval"], to, 1)
    return either(
        to,
        f"de {number(figures['continuations'], to)} suites de phrases écrites par le modèle, {share} contiennent une "
        f"insulte ou une menace : {kinds[0]} après un début banal, {kinds[1]} après une provocation.",
        f"of {number(figures['continuations'], to)} continuations that the model wrote, {share} hold an insult or a "
        f"threat: {kinds[0]} after an everyday opening, {kinds[1]} after a provoking one.",
    )


def _refusal(figures: dict[str, Any], to: Language) -> str:
    harmful, harmless = figures["harmful"], figures["harmless"]
    refused = _share(harmful["refused"], harmful["interval"], to)
    over = _share(harmless["refused"], harmless["interval"], to)
    return either(
        to,
        f"le modèle refuse {refused} des {number(harmful['requests'], to)} demandes nuisibles, et à tort {over} des "
        f"{number(harmless['requests'], to)} demandes anodines formulées de façon voisine.",
        f"the model refuses {refused} of {number(harmful['requests'], to)} harmful requests and, wrongly, {over} of "
        f"{number(harmless['requests'], to)} harmless ones in similar words.",
    )


PROBES: dict[str, Callable[[dict[str, Any], Language], str]] = {
    "memorisation": _memorisation,
    "bias": _bias,
    "toxicity": _toxicity,
    "refusal": _refusal,
}


def _health(facts: Facts, to: Language) -> str:
    """That a model which has read health data is no medical device."""
    health = facts.answers.health
    if health is None or not health.not_a_medical_device:
        return ""
    return either(
        to,
        "Des données de santé sont parmi celles de l'entraînement (`documents/privacy-report.fr.md`). **Ce modèle "
        "n'est pas un dispositif médical** : il ne doit servir ni au diagnostic ni au soin.",
        "Health data are among those of the training (`documents/privacy-report.en.md`). **This model is not a medical "
        "device**: it must serve neither diagnosis nor care.",
    )
