"""The report on personal data: what sources contain, what was replaced, how well that works, what the model repeats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clapas.release.documents import words
from clapas.release.documents.detectors import NAMES, quality
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import address, block, code, plain, table
from clapas.release.documents.words import Language, either
from clapas.release.personal_data import Persons, memorisation_of, persons
from clapas_data.personal.finding import KINDS

CONTENTS = {"personal": ("données personnelles", "personal data"), "health": ("données de santé", "health data")}


def documents(facts: Facts) -> dict[str, bytes]:
    """`documents/privacy-report.{fr,en}.md`."""
    return {
        "documents/privacy-report.fr.md": words.typeset("\n\n".join(_report(facts, "fr")) + "\n").encode(),
        "documents/privacy-report.en.md": ("\n\n".join(_report(facts, "en")) + "\n").encode(),
    }


def _report(facts: Facts, to: Language) -> Iterator[str]:
    model = facts.answers.model
    sources = list(persons(facts.evidence, facts.answers))
    yield either(to, "# Données personnelles : rapport", "# Personal data: report")
    yield f"{plain(model.name)} {plain(model.version)}, {words.date(facts.date, to)}."
    yield from _device(facts, to)
    yield from _contents(facts, sources, to)
    yield from _replaced(sources, to)
    if through := any(source.step is not None for source in sources):
        yield from quality(to)
    yield from _memorisation(facts, to)
    yield from _legal_basis(facts, to)
    yield from _removals(facts, to)
    yield from _limits(facts, through, to)


def _device(facts: Facts, to: Language) -> Iterator[str]:
    health = facts.answers.health
    if health is not None and health.not_a_medical_device:
        yield either(to, "**Ce modèle n'est pas un dispositif médical.**", "**This model is not a medical device.**")


def _contents(facts: Facts, sources: list[Persons], to: Language) -> Iterator[str]:
    yield either(to, "## Ce que contiennent les sources", "## What the sources contain")
    head = either(to, "corpus|source|dit contenir|semble contenir|étape `personal`", "corpus|source|is said to contain|"
                  "seems to contain|step `personal`").split("|")  # fmt: skip
    rows = [
        (
            code(source.corpus),
            code(source.name),
            contents_named(source.contains, to),
            either(to, "non examiné", "not looked at") if source.step is None else contents_named(source.seems, to),
            either(to, "non", "no") if source.step is None else either(to, "oui", "yes"),
        )
        for source in sources
    ]
    yield table(head, rows)
    yield either(
        to,
        "« Dit contenir » : ce que déclare la personne qui a construit le corpus ; un tiret : rien n'est déclaré. "
        "« Semble contenir » : un indice, d'après ce que l'étape `personal` y a trouvé ; un texte qui n'y est pas "
        "passé peut contenir des données personnelles que personne n'a vues.",
        "“Is said to contain”: what whoever built the corpus declares; a dash: nothing is declared. “Seems to "
        "contain”: a hint, by what the step `personal` found; text that did not go through it may hold personal data "
        "that nobody has seen.",
    )
    for name in dict.fromkeys(source.name for source in sources if source.no_health and "health" in source.seems):
        said = facts.answers.training_content.sources[name].no_health_data
        assert said is not None
        colon = either(to, " :", ":")
        yield f"{code(name)}{either(to, ', sans données de santé', ', without health data')}{colon} {said.said(to)}"


def contents_named(contents: tuple[str, ...], to: Language) -> str:
    """Personal data, health data or both, in words; a dash for none."""
    return words.listed([either(to, *CONTENTS[name]) for name in contents], to) if contents else "–"


def _replaced(sources: list[Persons], to: Language) -> Iterator[str]:
    yield either(to, "## Ce qui a été remplacé", "## What was replaced")
    through = [source for source in sources if source.step is not None]
    if not through:
        yield either(
            to,
            "Aucune source n'est passée par l'étape `personal` de Clapas, qui remplace les données personnelles. Rien "
            "n'a été retiré ainsi, et rien n'a été compté.",
            "No source went through Clapas's step `personal`, which replaces personal data. Nothing was taken out in "
            "this way, and nothing was counted.",
        )
        return
    head = [either(to, "donnée", "datum"), *(code(source.name) for source in through)]
    rows = [(either(to, *NAMES[kind]), *(_count(source, kind, to) for source in through)) for kind in KINDS]
    touched = [f"{words.number(own.documents_changed, to)} / {words.number(_seen(own), to)}" for own in through]
    rows.append((either(to, "**documents touchés / lus**", "**documents touched / read**"), *touched))
    yield table(head, rows, numbers=range(1, 1 + len(through)))
    modes = {
        source.name: either(to, "une valeur inventée de même forme", "an invented value of the same form")
        if source.step is not None and source.step.options.get("mode") == "surrogate"
        else either(to, "une marque comme `<TÉLÉPHONE>`", "a mark such as `<TÉLÉPHONE>`")
        for source in through
    }
    yield either(to, "Mis à la place", "Put in their place") + either(to, " : ", ": ") + " ; ".join(
        f"{code(name)}, {mode}" for name, mode in modes.items()
    ) + "."  # fmt: skip
    if missing := [source.name for source in sources if source.step is None]:
        names = words.listed([code(name) for name in missing], to)
        yield either(to, f"Non passées par l'étape : {names}.", f"Not through the step: {names}.")


def _count(source: Persons, kind: str, to: Language) -> str:
    return either(to, "laissé", "left") if kind in source.left else words.number(source.removed(kind), to)


def _seen(source: Persons) -> int:
    return 0 if source.step is None else source.step.documents_in


def _memorisation(facts: Facts, to: Language) -> Iterator[str]:
    yield either(to, "## Ce que le modèle répète mot pour mot", "## What the model repeats word for word")
    probes = memorisation_of(facts.evidence)
    if not probes:
        yield either(to, "Non mesuré.", "Not measured.")
        return
    names = {data.manifest_hash: data.name for data in facts.evidence.data}
    for probe in probes:
        yield _probe(probe, names.get(probe["manifest"], str(probe["manifest"])[:16]), to)


def _probe(probe: dict[str, Any], corpus: str, to: Language) -> str:
    drawn, figures = probe["drawn"], probe["figures"]
    head = either(to, "documents|extraits|répétés en entier|intervalle à 95 %|part répétée en moyenne",
                  "documents|excerpts|repeated whole|95% interval|share repeated on average").split("|")  # fmt: skip
    kinds = {"training": either(to, "lus à l'entraînement", "read in training"),
             "held_out": either(to, "tenus à l'écart", "held out")}  # fmt: skip
    rows = [
        (
            kinds[name],
            words.number(own["excerpts"], to),
            words.percent(own["exact"], to),
            f"{words.percent(own['interval'][0], to)} – {words.percent(own['interval'][1], to)}",
            words.percent(own["prefix"], to),
        )
        for name, own in figures.items()
        if name in kinds
    ]
    prompt, length = words.number(drawn["prompt_tokens"], to), words.number(drawn["continuation_tokens"], to)
    shown = figures["difference"]["is_shown"]
    memorisation = "Une mémorisation est" if shown else "Aucune mémorisation n'est"
    significant = "est" if shown else "n'est pas"
    return "\n\n".join(
        (
            either(
                to,
                f"Corpus {code(corpus)} : {prompt} jetons d'un document, puis {length} jetons de décodage glouton, "
                "comparés à la suite du document.",
                f"Corpus {code(corpus)}: {prompt} tokens of a document, then {length} tokens of greedy decoding, "
                "compared with what follows in the document.",
            ),
            table(head, rows, numbers=range(1, 5)),
            either(
                to,
                f"{memorisation} établie : la différence entre les deux lignes {significant} significative. "
                "Un échantillon ne prouve pas l'absence.",
                f"Memorisation is {'shown' if shown else 'not shown'}: the difference between the two lines is "
                f"{'' if shown else 'not '}significant. A sample does not prove absence.",
            ),
        )
    )


def _legal_basis(facts: Facts, to: Language) -> Iterator[str]:
    health = facts.answers.health
    if health is None:
        return
    yield either(to, "## Données de santé", "## Health data")
    yield either(to, "### Base légale", "### Legal basis")
    yield block(health.legal_basis.said(to), 4)
    yield either(to, "Autorisation : ", "Authorisation: ") + plain(health.authorisation.said(to))
    yield either(to, "### Dé-identification", "### De-identification")
    yield block(health.deidentification.said(to), 4)


def _removals(facts: Facts, to: Language) -> Iterator[str]:
    yield either(to, "## Documents retirés sur demande", "## Documents removed on request")
    for data in facts.evidence.data:
        before, since = words.number(data.removed_before, to), words.number(data.removed_since, to)
        yield either(
            to,
            f"{code(data.name)} : {before} avant l'entraînement {code(data.of)}"
            f"{', qui ne les a pas lus' if data.removed_before else ''} ; {since} depuis.",
            f"{code(data.name)}: {before} before the training {code(data.of)}"
            f"{', which has not read them' if data.removed_before else ''}; {since} since.",
        )


def _limits(facts: Facts, replaced: bool, to: Language) -> Iterator[str]:
    contacts = facts.answers.contacts
    yield either(to, "## Limites et droits", "## Limits and rights")
    yield either(
        to,
        ("C'est au mieux une pseudonymisation : ce qui reste" if replaced else "Ce que contiennent les textes")
        + " peut désigner une personne, seul ou avec d'autres sources, et retirer un document n'efface pas sa trace "
        "d'un modèle qui l'a lu.",
        ("This is pseudonymisation at best: what remains" if replaced else "What the texts contain")
        + " may single a person out, alone or with other sources, and removing a document does not erase it from a "
        "model that has read it.",
    )
    asked = either(to, "Accès, rectification, retrait d'un document : ", "Access, rectification, takedown: ")
    yield f"{asked}{address(contacts.takedown)}."
    provider = facts.answers.provider
    answers_for = either(to, "Qui publie le modèle et en répond : ", "Who releases the model and answers for it: ")
    yield f"{answers_for}{plain(provider.name)}, {plain(provider.address)}, {address(provider.email)}."
