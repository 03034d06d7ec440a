"""LICENSE and NOTICE: the licence of the weights, and everybody who is to be named with them.

Named are the sources of the texts, the models that the run began with or learned from, the tools that chose the texts
and whose licence asks for it, and the authors of the questions that it was asked. NOTICE has each line in French and
English.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from clapas.release.answers import Answers
from clapas.release.asked.forms import Bilingual
from clapas.release.documents.facts import Facts
from clapas.release.evaluation_sets import LICENCE as SETS_LICENCE
from clapas.release.evaluation_sets import is_ours, probes_asked, sets_of_others, tasks_asked
from clapas.release.evidence.evidence import BaseFacts, DataFacts, Evidence, SourceFacts
from clapas.release.layout import LICENCE, NOTICE
from clapas.release.licences.texts import WEIGHTS, licence_text

LANGUAGE_STEPS = ("language", "language.paragraphs")
LANGUAGE_MODEL = (
    "lid.176.ftz, fastText (A. Joulin, E. Grave, P. Bojanowski, M. Douze, H. Jégou, T. Mikolov, 2016 ; "
    "Facebook, Inc.)\n"
    "  licence : CC-BY-SA-3.0 <https://creativecommons.org/licenses/by-sa/3.0/>\n"
    "  lien / link : <https://fasttext.cc/docs/en/language-identification.html>\n"
    "  usage / use : a choisi des textes d'après leur langue, sans modification ; rien n'en est dans les poids\n"
    "                (chose texts by their language, unmodified; no part of it is in the weights)\n"
)
"""What the step `language` reads texts with."""
RULE = "=" * 78


def documents(facts: Facts) -> dict[str, bytes]:
    """`LICENSE`, but for a licence that is not on the list, and `NOTICE`."""
    evidence, answers = facts.evidence, facts.answers
    found = {NOTICE: "\n".join(_notice(evidence, answers)).encode()}
    if (licence := weights_licence(evidence, answers)) is not None:
        found[LICENCE] = licence.encode()
    return found


def weights_licence(evidence: Evidence, answers: Answers) -> str | None:
    """The text of the weights' licence, its copyright line, where it has one, filled in. None: it is not listed."""
    licence = answers.model.licence
    return licence_text(licence, copyright_notice(evidence, answers)) if licence in WEIGHTS else None


def copyright_notice(evidence: Evidence, answers: Answers) -> str:
    """Of the weights, and of what is written about them."""
    return f"Copyright (c) {evidence.time[:4]} {answers.provider.name}"


def attributions(evidence: Evidence, answers: Answers) -> Iterator[str]:
    """Every attribution that NOTICE must have, as people gave it."""
    for _, source in named_sources(evidence):
        if (answer := answers.training_content.sources.get(source.name)) is not None:
            yield answer.attribution
    for base in evidence.bases:
        if (first := answers.base_models.get(base.folder)) is not None:
            yield first.attribution
    for key in sets_of_others(evidence, answers):
        if key is not None:
            yield answers.evaluation_sets[key].attribution


def named_sources(evidence: Evidence) -> Iterator[tuple[DataFacts, SourceFacts]]:
    """Each source of all data, once; its data with it. A corpus that several runs read says the same of it."""
    seen = set[tuple[str, str, str | None]]()
    for data in evidence.data:
        for source in data.sources:
            if (key := (source.name, source.licence, source.revision)) not in seen:
                seen.add(key)
                yield data, source


def uses_language_model(evidence: Evidence) -> bool:
    """Whether lid.176 chose any of the texts."""
    return any(step.name in LANGUAGE_STEPS for data in evidence.data for step in data.steps)


def _notice(evidence: Evidence, answers: Answers) -> Iterator[str]:
    model, provider = answers.model, answers.provider
    yield f"{model.name} {model.version}\n{copyright_notice(evidence, answers)} <{provider.website}>\n"
    yield f"Licence des poids / licence of the weights : {model.licence} (LICENSE)."
    yield "Ceux que nomme ce fichier n'ont ni approuvé ni vérifié ce modèle."
    yield "Those whom this file names have neither endorsed nor verified this model.\n"
    yield _title("Retrait d'un document / Takedown of a document")
    yield f"Demandes / requests : {answers.contacts.takedown}"
    yield f"Titulaires de droits / right holders : {answers.contacts.rights}\n"
    yield _title("Textes d'entraînement / Training texts")
    for data, source in named_sources(evidence):
        yield _source(data, source, answers)
    if evidence.bases:
        yield _title("Modèles de départ et modèles imités / Models that training began with or learned from")
        yield from (_model(base, answers) for base in evidence.bases)
    if uses_language_model(evidence):
        yield _title("Outils / Tools")
        yield LANGUAGE_MODEL
    yield from _evaluation_sets(evidence, answers)
    yield from _texts_of_bases(evidence, answers)


def _title(words: str) -> str:
    return f"{RULE}\n{words}\n{RULE}\n"


def _source(data: DataFacts, source: SourceFacts, answers: Answers) -> str:
    answer = answers.training_content.sources.get(source.name)
    steps = [step.name for step in source.steps or data.steps]
    lines = [f"{source.name} ({data.name})"]
    if answer is not None:
        lines.append(f"  {answer.attribution}")
    lines += [
        f"  licence : {source.licence}",
        f"  lien / link : {f'<{source.url}>' if source.url else '–'}",
        f"  révision / revision : {source.revision or '–'}",
        f"  SHA-256 : {source.sha256 or '–'}",
        f"  modifications : {', '.join(steps) or '–'} (documents/data-card)",
    ]
    if answer is not None:
        lines += _decision(answer.licence_decision)
    return "\n".join(lines) + "\n"


def _decision(decision: Bilingual | None) -> list[str]:
    """Why people hold the licences to agree, where docs/licences.md leaves that to them."""
    if decision is None:
        return []
    return [
        f"  décision sur la licence : {' '.join(decision.fr.split())}",
        f"  decision on the licence : {' '.join(decision.en.split())}",
    ]


def _model(base: BaseFacts, answers: Answers) -> str:
    first = answers.base_models.get(base.folder)
    if first is None:  # a run of ours
        return f"{base.folder}\n  SHA-256 : {base.seal or '–'}\n"
    changes = {
        "weights": "entraîné plus avant / trained further",
        "adapter": "entraîné plus avant / trained further",
        "teacher": "imité ; rien de ses poids n'est repris / learned from; none of its weights is taken over",
    }
    lines = [
        f"{first.name} ({first.revision})",
        f"  {first.attribution}",
        f"  licence : {first.licence}",
        f"  lien / link : <{first.url}>",
        f"  modifications : {changes[base.role]}",
        *_decision(first.licence_decision),
    ]
    return "\n".join(lines) + "\n"


def _evaluation_sets(evidence: Evidence, answers: Answers) -> Iterator[str]:
    """Whose the questions are that the model was asked, which go with it in `evaluations/`."""
    versions, probes = tasks_asked(evidence), probes_asked(evidence)
    if not versions and not probes:
        return
    yield _title("Jeux d'évaluation / Evaluation sets")
    yield "Leurs questions, dans evaluations/, restent sous les licences que voici."
    yield "Their questions, in evaluations/, remain under the licences below.\n"
    ours = [task for task in versions if is_ours(task)]
    if ours or probes:
        lines = ["Jeux de Clapas / Clapas's own sets", "  Les auteurs de Clapas / the authors of Clapas"]
        lines += [
            f"  licence : {SETS_LICENCE}",
            *_asked("tâches / tasks", [_versioned(task, versions) for task in ours]),
        ]
        yield "\n".join([*lines, *_asked("sondes / probes", probes)]) + "\n"
    for key, tasks in sets_of_others(evidence, answers).items():
        named = _asked("tâches / tasks", [_versioned(task, versions) for task in tasks])
        if key is None:
            yield "\n".join(["–", "  licence : –", *named]) + "\n"
            continue
        own = answers.evaluation_sets[key]
        lines = [own.name, f"  {own.attribution}", f"  licence : {own.licence}", f"  lien / link : <{own.url}>"]
        yield "\n".join([*lines, *named]) + "\n"


def _versioned(task: str, versions: Mapping[str, str]) -> str:
    return f"{task} (version {versions[task]})"


def _asked(what: str, names: list[str]) -> list[str]:
    return [f"  {what} : {', '.join(names)}"] if names else []


def _texts_of_bases(evidence: Evidence, answers: Answers) -> Iterator[str]:
    """The licences of models whose weights these come from, where their text is not LICENSE: whoever has the one has
    the other (Apache-2.0, section 4a, and alike)."""
    folders = [base.folder for base in evidence.bases if base.role != "teacher"]
    firsts = [answers.base_models[folder] for folder in dict.fromkeys(folders) if folder in answers.base_models]
    for first in firsts:
        if first.licence in WEIGHTS and first.licence != answers.model.licence:
            yield _title(f"Licence : {first.licence} ({first.name})")
            yield licence_text(first.licence, first.attribution)
