"""How the model was trained: steps and settings, computing by two counts, time, machines, energy and CO2."""

from __future__ import annotations

from clapas.release.documents import words
from clapas.release.documents.card.nouns import counted
from clapas.release.documents.energy_text import boundary_said
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import code, plain, table
from clapas.release.documents.words import Language, either
from clapas.release.energy_use import JOULES, EnergyUse, energy_use
from clapas.release.training_compute import Work, work_of

OPTIMIZERS = {"adamw": "AdamW", "lion": "Lion", "muon": "Muon", "schedule_free": "Schedule-Free AdamW"}
PLOT = "images/loss.png"


def training(facts: Facts, to: Language) -> str:
    """A table, then the curve of the loss."""
    title = either(to, "### Entraînement", "### Training")
    alt = either(
        to, "Perte à l'entraînement et sur les textes tenus à l'écart", "Loss in training and on held-out text"
    )
    rows = [
        (either(to, fr, en), value)
        for fr, en, value in (*_settings(facts, to), *_computing(facts, to), *_energy(facts, to))
        if value
    ]
    head = either(to, "Réglage ou mesure", "Setting or figure"), either(to, "Valeur", "Value")
    return f"{title}\n\n{table(head, rows)}\n\n![{alt}]({PLOT})\n"


def _settings(facts: Facts, to: Language) -> list[tuple[str, str, str]]:
    evidence, recipe = facts.evidence, facts.evidence.recipe
    return [
        ("Pas d'optimisation", "Steps", _steps(facts, to)),
        ("Optimiseur", "Optimizer", _optimizer(facts, to)),
        ("Précision", "Precision", f"{recipe['precision']}, DeepSpeed ZeRO-{recipe['parallel']['zero_stage']}"),
        ("Instabilités", "Spikes", _spikes(facts, to)),
        ("Départ", "Start", _branch(facts, to)),
        ("Recette", "Recipe", f"{code(evidence.run)}, " + either(to, "empreinte ", "hash ") + code(evidence.identity)),
    ]


def _steps(facts: Facts, to: Language) -> str:
    """1 464 pas de 2 048 jetons; of batches that grew, their mean."""
    evidence = facts.evidence
    each, rest = divmod(evidence.tokens, max(1, evidence.step))
    of = either(to, " de ", " of ") + counted(each, "token", to)
    mean = either(to, " en moyenne", " on average") if rest else ""
    return counted(evidence.step, "step", to) + of + mean


def _optimizer(facts: Facts, to: Language) -> str:
    """Its name and figures, those that it has."""
    optimizer, schedule = facts.evidence.recipe["optimizer"], facts.evidence.recipe["schedule"]
    told = [str(OPTIMIZERS.get(optimizer["name"], optimizer["name"]))]
    told.append(either(to, "taux d'apprentissage ", "learning rate ") + _plain(optimizer["lr"], to))
    if betas := optimizer.get("betas"):
        told.append("β " + words.listed([_plain(beta, to) for beta in betas], to))
    if decay := optimizer.get("weight_decay"):
        told.append(either(to, "décroissance des poids ", "weight decay ") + _plain(decay, to))
    told.append(either(to, "calendrier ", "schedule ") + plain(schedule["name"]))
    return (" ; " if to == "fr" else "; ").join(told)


def _plain(value: float, to: Language) -> str:
    """A setting in as many digits as it has; a very small one as a power of ten."""
    if value and abs(value) < 1e-4:
        return words.power_of_ten(value, to, 2)
    return words.significant(value, 6, to)


def _spikes(facts: Facts, to: Language) -> str:
    """What was done about spikes, if anything."""
    compute = facts.evidence.compute
    parts = [
        counted(value, noun, to)
        for value, noun in ((compute.skipped_updates, "update"), (compute.rollbacks, "rollback"))
        if value
    ]
    if not parts:
        return ""
    left = either(to, ", les données lues depuis étant écartées", ", what was read since being left out")
    return words.listed(parts, to) + (left if compute.rollbacks else "")


def _branch(facts: Facts, to: Language) -> str:
    """Where the run began, if not at its own first step."""
    branch = facts.evidence.branch
    if branch is None:
        return ""
    step, run = words.number(branch["step"], to), code(branch["run"])
    return either(to, f"pas {step} de l'entraînement {run}", f"step {step} of run {run}") + (
        f" ({either(to, 'empreinte', 'hash')} {code(branch['identity'])})"
    )


def _computing(facts: Facts, to: Language) -> list[tuple[str, str, str]]:
    compute, work = facts.evidence.compute, work_of(facts.evidence, facts.answers)
    counts = either(
        to,
        f"{words.power_of_ten(compute.flops, to)} FLOP d'après le registre, attention et reprises comprises ; "
        f"{words.power_of_ten(compute.flops_by_parameters, to)} par la règle 6 × paramètres × jetons",
        f"{words.power_of_ten(compute.flops, to)} FLOP by the ledger, with attention and repeated work; "
        f"{words.power_of_ten(compute.flops_by_parameters, to)} by 6 × parameters × tokens",
    )
    total = _total(work, to) if work.unknown or work.total != compute.flops else ""
    return [
        ("Calcul", "Computing", counts),
        ("Calcul en tout", "Computing in all", total),
        ("Durée", "Time", _time(facts, to)),
        ("Matériel", "Hardware", plain(facts.answers.energy.hardware.said(to))),
    ]


def _total(work: Work, to: Language) -> str:
    """Of all runs behind the model, with what models that did not learn computed beside."""
    least = either(to, "au moins ", "at least ") if work.unknown else ""
    return f"{least}{words.power_of_ten(work.total, to)} FLOP, " + either(
        to,
        "avec les entraînements d'où il part et les modèles de référence",
        "with the runs that it comes from and reference models",
    )


def _time(facts: Facts, to: Language) -> str:
    compute = facts.evidence.compute
    summed = words.duration(compute.accelerator_seconds, to)
    ranks = words.listed([words.number(ranks, to) for ranks in compute.ranks], to)
    began, ended = words.date(compute.began, to), words.date(compute.ended, to)
    parts = [
        words.duration(compute.seconds, to),
        either(to, f"{summed} cumulées sur {ranks} processus", f"{summed} summed over {ranks} processes"),
        counted(compute.hosts, "machine", to),
        counted(compute.segments, "segment", to) if compute.segments > 1 else "",
        either(to, f"du {began} au {ended}", f"from {began} to {ended}")
        if began != ended
        else either(to, f"le {began}", f"on {began}"),
    ]
    return (" ; " if to == "fr" else "; ").join(filter(None, parts))


def _energy(facts: Facts, to: Language) -> list[tuple[str, str, str]]:
    answers, use = facts.answers.energy, energy_use(facts.evidence, facts.answers)
    grams = f"{_plain(use.grams_per_kwh, to)}{words.UNBROKEN}g/kWh"
    source = either(to, "source : ", "source: ") + plain(answers.carbon_intensity_source.said(to))
    co2 = f"{words.mass(use.co2_grams, to)} {either(to, 'éq. CO₂', 'CO₂e')} ({grams}, {source})"
    site = "" if use.site_kwh is None else _site(use, to)
    return [("Énergie", "Energy", _machines(facts, use, to) + site), ("Émissions", "Emissions", co2)]


def _machines(facts: Facts, use: EnergyUse, to: Language) -> str:
    """Of the machines: measured, or an estimate that says that it is one, and its basis."""
    told = []
    if use.boundary is not None:
        measured = words.energy(use.measured_kwh * JOULES, to)
        told.append(f"{either(to, 'mesurée :', 'measured:')} {measured} ({boundary_said(use.boundary, to)})")
    if use.accelerator_seconds:
        estimate = words.energy(use.estimated_kwh * JOULES, to)
        watts = f"{_plain(use.watts_per_accelerator, to)}{words.UNBROKEN}W"
        source = plain(facts.answers.energy.watts_source.said(to))
        told.append(
            either(
                to,
                ("non mesurée" if use.boundary is None else "le reste non mesuré")
                + f" ; estimation : {estimate} ({watts} par processus, source : {source})",
                ("not measured" if use.boundary is None else "the rest not measured")
                + f"; estimate: {estimate} ({watts} a process, source: {source})",
            )
        )
    if use.unknown:
        told.append(either(to, "inconnue pour ", "unknown for ") + words.listed([code(run) for run in use.unknown], to))
    return (" ; " if to == "fr" else "; ").join(told)


def _site(use: EnergyUse, to: Language) -> str:
    assert use.site_kwh is not None
    assert use.power_usage_effectiveness is not None
    site, effectiveness = words.energy(use.site_kwh * JOULES, to), _plain(use.power_usage_effectiveness, to)
    return either(to, f" ; {site} pour le site (PUE {effectiveness})", f"; {site} of the site (PUE {effectiveness})")
