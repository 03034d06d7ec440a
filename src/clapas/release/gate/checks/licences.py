"""Check 14: the weights' licence is on the list and in LICENSE, and agrees with those of all that they come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from clapas.recipe.errors import UserError
from clapas.release.asked.forms import Bilingual
from clapas.release.documents.notice import attributions, named_sources, weights_licence
from clapas.release.evaluation_sets import sets_of_others
from clapas.release.evidence.evidence import BaseFacts, SourceFacts
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.reading import Unreadable, read_text
from clapas.release.layout import LICENCE, NOTICE
from clapas.release.licences.spdx import spdx_problem
from clapas.release.licences.terms import agreement
from clapas.release.licences.texts import WEIGHTS


def check_licences(draft: Draft) -> Verdict:
    """Every licence that is said, whether they agree, and whether LICENSE and NOTICE say them."""
    try:
        problems = [*_weights(draft), *_notice(draft), *_sources(draft), *_models(draft), *_evaluation_sets(draft)]
    except UserError as error:  # license-expression is not installed
        return not_run(error.what)
    problems += [f"{name}, which this model comes from, is gone: what it read is not known" for name in
                 draft.evidence.missing_stems]  # fmt: skip
    sources = sum(1 for _ in named_sources(draft.evidence))
    licence = draft.answers.model.licence
    return judged(problems, f"{licence}: its text is LICENSE; it agrees with {sources} sources of texts and "
                            f"{len(draft.evidence.bases)} models behind this one")  # fmt: skip


def _weights(draft: Draft) -> Iterator[str]:
    licence = draft.answers.model.licence
    if problem := spdx_problem(licence):
        yield f"model.licence: {problem}"
    elif licence not in WEIGHTS:
        yield f"model.licence: {licence} is not on the list: {', '.join(WEIGHTS)}"
    elif isinstance(text := read_text(draft.folder, LICENCE), Unreadable):
        yield text.why
    elif text != weights_licence(draft.evidence, draft.answers):
        yield f"LICENSE is not the text of {licence}, word for word"


def _notice(draft: Draft) -> Iterator[str]:
    notice = read_text(draft.folder, NOTICE)
    if isinstance(notice, Unreadable):
        yield notice.why
        return
    for due in (*attributions(draft.evidence, draft.answers), draft.answers.contacts.takedown):
        if due not in notice:
            yield f"NOTICE does not say {due!r}"


def _sources(draft: Draft) -> Iterator[str]:
    for data, source in named_sources(draft.evidence):
        if problem := _of_source(draft, source):
            yield f"{data.name}: {source.name}: {problem}"


def _of_source(draft: Draft, source: SourceFacts) -> str | None:
    answer = draft.answers.training_content.sources.get(source.name)
    decision = None if answer is None else answer.licence_decision
    key = f"training_content.sources.{source.name}.licence_decision"
    return _disagreement(draft, source.licence, "text", decision, key, source.caveats)


def _models(draft: Draft) -> Iterator[str]:
    firsts = draft.answers.base_models
    for base in draft.evidence.bases:
        if problem := _of_model(draft, base):
            yield f"{base.role} of {base.folder}: {problem}"
    if unused := sorted(firsts.keys() - {base.folder for base in draft.evidence.bases}):
        yield f"base_models: this model has nothing from {', '.join(unused)}"


def _of_model(draft: Draft, base: BaseFacts) -> str | None:
    """What keeps a model's licence from ours. A run of ours needs none: what it read is looked at itself."""
    first = draft.answers.base_models.get(base.folder)
    key = f"base_models.{base.folder}"
    if first is None:
        return None if base.run is not None else f"nobody says its licence: {key}"
    if base.declared_licence is not None and base.declared_licence.lower() != first.licence.lower():
        return f"its own card says {base.declared_licence}, {key} says {first.licence}"
    if base.role == "teacher":
        return _disagreement(draft, first.licence, "text", first.licence_decision, f"{key}.licence_decision", ())
    return _disagreement(draft, first.licence, "base", None, key, ())


def _evaluation_sets(draft: Draft) -> Iterator[str]:
    """Of others' questions, which the release holds, somebody says the licence; it need not agree with the weights'."""
    answers, asked = draft.answers.evaluation_sets, sets_of_others(draft.evidence, draft.answers)
    if silent := asked.pop(None, None):
        yield f"nobody says the licence of the questions of {', '.join(silent)}, in evaluations/: evaluation_sets"
    for key in asked:
        if key is not None and (problem := spdx_problem(answers[key].licence)):
            yield f"evaluation_sets.{key}: {problem}"
    if unused := sorted(answers.keys() - asked.keys()):
        yield f"evaluation_sets: this model was not asked {', '.join(unused)}"


def _disagreement(
    draft: Draft,
    licence: str,
    of: Literal["text", "base"],
    decision: Bilingual | None,
    key: str,
    caveats: tuple[str, ...],
) -> str | None:
    """Why a licence keeps the weights in; None where it agrees, or people have decided that it does."""
    found = agreement(draft.answers.model.licence, licence, of, caveats)
    if found.outcome == "refused":
        return found.why
    if problem := spdx_problem(licence):
        return problem
    if found.outcome == "to be decided" and decision is None:
        return f"{found.why}; whether {draft.answers.model.licence} agrees with that is for people to decide: {key}"
    return None


CHECK = Check(14, "licences", "licences are valid, open, shipped, and agree with those of all sources", check_licences)
