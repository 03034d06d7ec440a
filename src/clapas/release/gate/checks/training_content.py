"""Check 18: the public summary of training content is whole, in French and English, has no blank, and is not old.

Every section and question of the Commission's template stands there with an answer; every source of the evidence is
among the sources of its kind; nothing that people answered contradicts the data. A summary is made anew at least every
six months (template, explanatory notice); a stranger is told how old it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from clapas.release.asked.blanks import PLACEHOLDER
from clapas.release.asked.content import SourceAnswer, TrainingContent
from clapas.release.documents.training_content.page import answers_on, plain_spaces, titles_on
from clapas.release.documents.training_content.summary import NAME
from clapas.release.documents.training_content.template import QUESTIONS, SECTIONS
from clapas.release.documents.words import LANGUAGES, Language, date
from clapas.release.evidence.evidence import SourceFacts
from clapas.release.gate.check import Check, Draft, Verdict, judged
from clapas.release.gate.reading import Unreadable, read_text

MONTH = re.compile(r"\d{4}-\d{2}")
MOST_AGE = timedelta(days=183)
CLOCKS = timedelta(days=1)
"""By how much the clocks of two machines may differ."""
LISTED_UNDER = {
    "public": ("large", "others"),
    "licensed": ("licensed_data",),
    "private": ("private_data",),
    "crawled": ("online",),
    "user": ("user_data",),
    "synthetic": ("generators",),
    "other": ("other_data",),
}
"""Kind of source -> the questions below which it is listed."""
FOLLOWING = {
    "public": ("large", "others"),
    "licensed": ("licensed_data",),
    "private": ("private_data",),
    "crawled": ("crawlers", "online", "domains"),
    "prompts": ("user_data",),
    "services": ("user_data",),
    "synthetic": ("generators",),
    "other": ("other_data",),
}
"""Question of yes or no -> what is asked after a yes; one of the two of public data is enough."""


def check_training_content(draft: Draft, now: datetime | None = None) -> Verdict:
    """now: by default this moment."""
    made = datetime.fromisoformat(draft.evidence.time)
    age = (now or datetime.now(UTC)) - made
    problems = list(_age(age, is_release=draft.live is not None))
    problems += _contradictions(draft)
    for language in LANGUAGES:
        problems += _page(draft, language)
    sources = sum(len(data.sources) for data in draft.evidence.data)
    return judged(
        problems,
        f"{len(SECTIONS)} sections in {len(LANGUAGES)} languages, {sources} sources, made on {made:%Y-%m-%d}, "
        f"{max(0, age.days)} days ago" + (f": older than {MOST_AGE.days} days" if age > MOST_AGE else ""),
    )


def _age(age: timedelta, is_release: bool) -> Iterator[str]:
    if age < -CLOCKS:
        yield "the summary is of the future: this machine's clock, or the evidence's time, is wrong"
    if is_release and age > MOST_AGE:
        yield f"the summary is {age.days} days old: wanted {MOST_AGE.days} at most when a model is released"


def _page(draft: Draft, language: Language) -> Iterator[str]:
    """What is wrong with the summary in a language."""
    name = NAME.format(language=language)
    page = read_text(draft.folder, name)
    if isinstance(page, Unreadable):
        yield str(page)
        return
    if missing := [SECTIONS[number][language] for number in SECTIONS if number not in titles_on(page, language)]:
        yield f"{name} lacks {'; '.join(missing)}"
    elif titles_on(page, language) != list(SECTIONS):
        yield f"{name}: the template's sections stand in another order, or twice"
    for line in page.splitlines():
        if PLACEHOLDER.search(line.strip()):
            yield f"{name}: a placeholder: {line.strip()[:80]!r}"
    found = answers_on(page, language)
    yield from (f"{name}: {problem}" for problem in _answers(found, language))
    if found.get("update") != plain_spaces(date(draft.evidence.time, language)):
        yield f"{name}: last update: found {found.get('update')!r}, made on {draft.evidence.time[:10]}"
    for data in draft.evidence.data:
        for source in data.sources:
            answer = draft.answers.training_content.sources.get(source.name)
            yield from (f"{name}: {problem}" for problem in _listed(source, answer, found))


def _answers(found: dict[str, str], language: Language) -> Iterator[str]:
    """Questions that have no answer, or have a yes that nothing follows."""
    for name, question in QUESTIONS.items():
        if question.always and not found.get(name, "").strip():
            yield f"no answer to {question.asked(language)!r}"
    for name, following in FOLLOWING.items():
        said = found.get(name, "")
        if ("☒ Oui" in said or "☒ Yes" in said) and not any(found.get(after, "").strip() for after in following):
            yield f"yes to {QUESTIONS[name].asked(language)!r}, and nothing that describes it"


def _listed(source: SourceFacts, answer: SourceAnswer | None, found: dict[str, str]) -> Iterator[str]:
    """Whether a source stands below its kind, with its link and its version."""
    if answer is None:
        yield f"{source.name}: nobody said what kind of source it is"
        return
    text = " ".join(found.get(name, "") for name in LISTED_UNDER[answer.kind]).replace("\\", "")
    wanted = (f"**{source.name}**", source.url and source.url.rstrip("/"), source.revision)
    if missing := [what for what in wanted if what and what not in text]:
        yield f"source {source.name} ({answer.kind}) is not listed with {', '.join(missing)}"


def _contradictions(draft: Draft) -> Iterator[str]:
    """Where answers contradict each other, or the data."""
    content = draft.answers.training_content
    yield from _kinds(content)
    for data in draft.evidence.data:
        for source in data.sources:
            answer = content.sources.get(source.name)
            if answer is None:
                continue
            if MONTH.match(source.date or "") and str(source.date)[:7] > answer.acquired[1]:
                yield f"{source.name} was acquired until {answer.acquired[1]}, and its version is of {source.date}"
            if answer.kind == "crawled" and source.domains is None:
                yield f"{source.name} was crawled, and its build kept no addresses: its domains are not known"


def _kinds(content: TrainingContent) -> Iterator[str]:
    """A kind of source whose own question says no."""
    said = {
        "licensed": content.licensed.concluded,
        "private": content.licensed.private_data,
        "crawled": bool(content.crawlers),
        "user": content.user_data is not None,
        "synthetic": bool(content.synthetic),
        "other": content.other is not None,
    }
    for name, answer in content.sources.items():
        if not said.get(answer.kind, True):
            yield f"{name} is said to be {answer.kind}, and release.yaml has no such data"


CHECK = Check(
    18, "training content", "the EU's public summary: complete, bilingual, under six months old", check_training_content
)
