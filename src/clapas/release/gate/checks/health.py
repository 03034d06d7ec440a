"""Check 19: who releases a model that has read health data says on what ground, and what was done about it."""

from __future__ import annotations

from collections.abc import Iterator

from clapas.release.gate.check import Check, Draft, Verdict, judged
from clapas.release.gate.reading import Unreadable, read_text
from clapas.release.personal_data import Persons, memorisation_of, persons
from clapas_data.steps.personal import HEALTH_KINDS

STATED = {
    "README.md": ("n'est pas un dispositif médical", "is not a medical device"),
    "documents/privacy-report.fr.md": ("n'est pas un dispositif médical",),
    "documents/privacy-report.en.md": ("is not a medical device",),
}
"""Document -> what it must say."""


def check_health(draft: Draft) -> Verdict:
    """Legal basis, de-identification, memorisation, and what the documents say; or that no source is of health."""
    of_health = [source for source in persons(draft.evidence, draft.answers) if source.is_health]
    if not of_health:
        return judged(_answers_without_cause(draft), "no source is marked health, and none seems so")
    problems = [
        *_answered(draft, of_health),
        *(f"{source.name}: {problem}" for source in of_health for problem in _deidentified(source)),
        *_memorisation(draft, of_health),
        *_stated(draft),
    ]
    names = ", ".join(source.name for source in of_health)
    return judged(problems, f"{names}: legal basis, de-identification and memorisation are reported")


def _answers_without_cause(draft: Draft) -> Iterator[str]:
    if draft.answers.health is not None:
        yield "health is answered, and no source is marked health: `contains: [health]` in the corpus file"


def _answered(draft: Draft, of_health: list[Persons]) -> Iterator[str]:
    health = draft.answers.health
    names = ", ".join(source.name for source in of_health)
    if health is None:
        yield (
            f"{names}: health data, and nobody says the legal basis: answer `health`, or, where there are none, "
            "`training_content.sources.NAME.no_health_data`"
        )
    elif not health.not_a_medical_device:
        yield "health.not_a_medical_device is false: a medical device needs more than this gate (regulation 2017/745)"


def _deidentified(source: Persons) -> Iterator[str]:
    if source.step is None:
        yield "health data that did not go through the step `personal`"
    elif left := [kind for kind in HEALTH_KINDS if kind in source.left]:
        yield f"its step `personal` left {', '.join(left)}"
    elif not source.step.documents_in:
        yield "its step `personal` has seen no document"


def _memorisation(draft: Draft, of_health: list[Persons]) -> Iterator[str]:
    """The probe was asked of the data that hold the health data."""
    asked = {probe["manifest"] for probe in memorisation_of(draft.evidence) if _excerpts(probe)}
    for corpus, manifest in dict.fromkeys((source.corpus, source.manifest) for source in of_health):
        if manifest not in asked:
            yield f"memorisation of {corpus} was not measured: `clapas eval RUN --probe memorisation --record --data …`"


def _excerpts(probe: dict[str, object]) -> bool:
    figures = probe.get("figures")
    return isinstance(figures, dict) and figures.get("training", {}).get("excerpts", 0) > 0


def _stated(draft: Draft) -> Iterator[str]:
    for name, phrases in STATED.items():
        text = read_text(draft.folder, name)
        if isinstance(text, Unreadable):
            yield text.why
            continue
        words = " ".join(text.replace("\u2019", "'").split())
        yield from (f"{name} does not say that the model {phrase}" for phrase in phrases if phrase not in words)


CHECK = Check(19, "health", "health data: legal basis, de-identification, memorisation, no device", check_health)
