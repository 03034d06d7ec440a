"""What documents say of computing, in words: how much, counted how, and what the AI Act makes of it."""

from __future__ import annotations

from clapas.release.ai_act import GENERAL_PURPOSE, SYSTEMIC_RISK, Duty, Modified, Verdicts, verdicts
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import plain, table
from clapas.release.documents.words import Language, either, listed, percent, power_of_ten
from clapas.release.training_compute import Recount, recount, work_of

DUTIES: dict[Duty, tuple[str, str]] = {
    "52": ("notification à la Commission (article 52)", "notification to the Commission (Article 52)"),
    "53(1)(a)": (
        "documentation technique pour les autorités (article 53, paragraphe 1, point a)",
        "technical documentation for authorities (Article 53(1)(a))",
    ),
    "53(1)(b)": (
        "informations aux fournisseurs en aval (article 53, paragraphe 1, point b)",
        "information for downstream providers (Article 53(1)(b))",
    ),
    "53(1)(c)": (
        "politique de respect du droit d'auteur (article 53, paragraphe 1, point c)",
        "a policy to comply with copyright law (Article 53(1)(c))",
    ),
    "53(1)(d)": (
        "résumé public du contenu d'entraînement (article 53, paragraphe 1, point d)",
        "the public summary of training content (Article 53(1)(d))",
    ),
    "54": ("mandataire dans l'Union (article 54)", "an authorised representative in the Union (Article 54)"),
    "55": ("obligations liées au risque systémique (article 55)", "the duties of systemic risk (Article 55)"),
}


def flop(value: float, language: Language) -> str:
    """An amount of computing, to three significant figures: 3,07 × 10²³ FLOP."""
    return f"{power_of_ten(value, language)}\u00a0FLOP"


def computation(facts: Facts, language: Language) -> str:
    """How much training took, over all runs, and how the sum was made."""
    work = work_of(facts.evidence, facts.answers)
    least = either(language, "au moins ", "at least ") if work.unknown else ""
    parts = either(
        language,
        f"dont {flop(work.training, language)} d'entraînement et au plus {flop(work.beside, language)} de passes avant "
        "de modèles qui n'apprennent pas (référence, professeur, textes que le modèle écrit)",
        f"of which {flop(work.training, language)} of training and at most {flop(work.beside, language)} of forward "
        "passes of models that do not learn (reference, teacher, texts that the model writes)",
    )
    whole = either(
        language,
        "toutes les reprises, étapes et branches comprises",
        "with all resumes, stages and branches",
    )
    return f"{least}{flop(work.total, language)}, {parts if work.beside else whole}."


def computation_method(facts: Facts, language: Language) -> str:
    """The two counts."""
    compute = facts.evidence.compute
    again = recount(facts.evidence, facts.evidence.active_parameters)
    return either(
        language,
        f"Compté deux fois. Par le registre, lot par lot, travail répété compris : {flop(compute.flops, language)} "
        "(6 opérations par paramètre qui multiplie et par jeton, 4 où il est gelé ; attention comptée en entier ; "
        "activations recalculées non comptées). Par l'architecture, la méthode des lignes directrices de la "
        f"Commission : {_between(again, language)}, d'après les matrices, les jetons et la longueur des séquences ; "
        f"6 × paramètres × jetons : {flop(compute.flops_by_parameters, language)}. La production de textes "
        "synthétiques n'est pas comptée.",
        f"Counted twice. By the ledger, batch by batch, repeated work included: {flop(compute.flops, language)} (6 "
        "operations per multiplying parameter and token, 4 where it is frozen; attention in full; recomputed "
        f"activations not counted). By the architecture, the method of the Commission's guidelines: "
        f"{_between(again, language)}, from matrices, tokens and lengths of sequences; 6 × parameters × tokens: "
        f"{flop(compute.flops_by_parameters, language)}. The making of synthetic texts is not counted.",
    )


def _between(again: Recount, language: Language) -> str:
    if again.least == again.most:
        return flop(again.most, language)
    of = either(language, "de {} à {}", "from {} to {}")
    return of.format(flop(again.least, language), flop(again.most, language))


def law(facts: Facts, language: Language) -> str:
    """The three thresholds, whether each is passed, and the duties that follow."""
    found = verdicts(facts.evidence, facts.answers)
    head = either(language, "seuil | valeur | compté | franchi", "threshold | value | counted | passed").split(" | ")
    return f"{table(head, threshold_rows(found, language))}\n\n{duties(found, language)}"


def threshold_rows(found: Verdicts, language: Language) -> list[tuple[str, str, str, str]]:
    """(threshold, its value, what was counted, whether it is passed) of all three."""
    total, own = (
        either(language, "au moins ", "at least ") * found.is_least + flop(found.total, language),
        either(language, "au moins ", "at least ") * bool(found.unknown) + flop(found.own, language),
    )
    rows = [
        (
            either(language, "usage général (présomption)", "general purpose (presumption)"),
            power_of_ten(GENERAL_PURPOSE, language, 1),
            total,
            _passed(found, GENERAL_PURPOSE, found.total, language),
        ),
        (
            either(language, "risque systémique (présomption)", "systemic risk (presumption)"),
            power_of_ten(SYSTEMIC_RISK, language, 1),
            total,
            _passed(found, SYSTEMIC_RISK, found.total, language),
        ),
    ]
    name = either(language, "un tiers du calcul du modèle d'origine", "a third of the original model's compute")
    if not found.modified:
        apply = either(language, "sans objet", "not applicable")
        reason = either(language, "aucun modèle de base d'un autre fournisseur", "no base model of another provider")
        return [*rows, (name, reason, own, apply)]
    thirds = [
        (
            f"{name}, {plain(base.name)}",
            _third(base, language),
            own,
            _passed(found, base.threshold, found.own, language),
        )
        for base in found.modified
    ]
    return rows + thirds


def _third(base: Modified, language: Language) -> str:
    """The threshold of a modification, and what it is a third of."""
    known = either(language, "un tiers de ", "a third of ") + flop(base.flops or GENERAL_PURPOSE, language)
    unknown = either(language, ", calcul d'origine inconnu", ", original compute unknown") if base.flops is None else ""
    return f"{power_of_ten(base.threshold, language)} ({known}{unknown})"


def _passed(found: Verdicts, threshold: float, counted: float, language: Language) -> str:
    share = either(
        language,
        f" ({percent(counted / threshold, language)} du seuil)",
        f" ({percent(counted / threshold, language)} of it)",
    )
    if counted > threshold:
        return either(language, "oui", "yes")
    near = either(language, "non, mais dans la marge d'erreur de 30 %", "no, but within the margin of error of 30%")
    return (near if found.is_near(threshold, counted) else either(language, "non", "no")) + share * (
        counted > threshold / 1000
    )


def duties(found: Verdicts, language: Language) -> str:
    """Which obligations follow from the thresholds, for a provider who publishes under a free licence."""
    if not found.is_provider:
        return _no_duties(found, language)
    names = listed([DUTIES[duty][0 if language == "fr" else 1] for duty in found.duties], language)
    if found.systemic_risk:
        return either(
            language,
            f"Obligations : {names}. L'exemption des licences libres (article 53, paragraphe 2) ne vaut pas.",
            f"Duties: {names}. The exemption of free licences (Article 53(2)) does not hold.",
        )
    return either(
        language,
        f"Obligations : {names}. Les points a) et b) ne s'appliquent pas (article 53, paragraphe 2), ni le mandataire "
        "(article 54, paragraphe 6) : les poids, l'architecture et les informations d'usage sont publics, sous licence "
        "libre, tant que le modèle n'est pas monétisé. Le formulaire est publié malgré tout.",
        f"Duties: {names}. Points (a) and (b) do not apply (Article 53(2)), nor does the representative (Article "
        "54(6)): weights, architecture and information on use are public, under a free licence, as long as the model "
        "is not monetised. This form is published all the same.",
    )


def _no_duties(found: Verdicts, language: Language) -> str:
    if found.becomes_provider is False and found.general_purpose:
        return either(
            language,
            "La modification reste sous le tiers : celui qui l'a faite ne devient pas fournisseur d'un modèle d'IA à "
            "usage général. Ces documents sont publiés volontairement.",
            "The modification stays below a third: whoever made it does not become the provider of a general-purpose "
            "AI model. These documents are published voluntarily.",
        )
    least = either(
        language,
        " Une part du calcul n'étant pas connue, cela reste à confirmer.",
        " As some of the compute is not known, this remains to be confirmed.",
    )
    return (
        either(
            language,
            "Sous le premier seuil, le modèle n'est pas présumé à usage général : le chapitre V du règlement ne s'y "
            "applique pas de ce fait. Ces documents sont publiés volontairement.",
            "Below the first threshold the model is not presumed to be of general purpose: Chapter V of the AI Act "
            "does not apply on that ground. These documents are published voluntarily.",
        )
        + least * found.is_least
    )
