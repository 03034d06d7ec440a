"""Whoever reads one language finds in it all that people answered, and nothing of the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.release.drafts import answer_values, small_evidence, small_facts
from tests.release.mutations.mutant import Case
from tests.release.mutations.privacy import HEALTH, make_health

from clapas.release.answers import Answers
from clapas.release.documents.all import render_all

BOTH = {"fr": "", "en": ""}


@pytest.fixture(scope="module")
def documents(trained_run: Path) -> dict[str, str]:
    """All documents of answers to every question of two languages, each of which names its key."""
    case = Case(Path(), small_evidence(trained_run), Answers.model_validate(every_answer()))
    make_health(case, contains=("health",))
    found = render_all(small_facts(case.evidence, Answers.model_validate(every_answer())))
    return {name: content.decode() for name, content in found.items() if not name.endswith(".png")}


def every_answer() -> dict[str, Any]:
    """The demo's answers, and those to what the demo is not asked."""
    values = answer_values() | {"health": dict(HEALTH)}
    months = {"first": "2026-01", "last": "2026-02"}
    values["training_content"] |= {
        "characteristics": dict(BOTH),
        "licensed": {"concluded": True, "private_data": True, "description": dict(BOTH)},
        "crawlers": [{"name": "robot", "purpose": dict(BOTH), "behaviour": dict(BOTH), **months}],
        "user_data": {"from_model": True, "from_services": True, "description": dict(BOTH)},
        "synthetic": [{"generator": "un modèle", "description": dict(BOTH)}],
        "other": dict(BOTH),
    }
    values["energy"] |= {"power_usage_effectiveness": 1.2, "power_usage_effectiveness_source": dict(BOTH)}
    for key, answer in twofold(values):
        answer.update(fr=f"FR.{key}.", en=f"EN.{key}.")
    return values


def twofold(value: Any, key: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """(dotted key, answer) of each answer in two languages."""
    if isinstance(value, dict) and set(value) == set(BOTH):
        yield key, value
    elif isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from twofold(part, f"{key}.{name}" if key else str(name))


def told(documents: dict[str, str], language: str) -> str:
    """What a reader of one language is given: pages of that language, and its half of those that have both."""
    other = "en" if language == "fr" else "fr"
    return "\n".join(text for name, text in documents.items() if f".{other}." not in name)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_answer_is_told_in_both_languages(documents: dict[str, str], language: str) -> None:
    """Nothing is asked twice and told once."""
    text = told(documents, language).replace("\\_", "_")
    asked = [key for key, _ in twofold(every_answer())]
    assert len(asked) > 30
    assert [key for key in asked if f"{language.upper()}.{key}." not in text] == []


def test_no_page_has_an_answer_in_the_other_language(documents: dict[str, str]) -> None:
    """Pages of one language, both halves of the card, and the files for machines, which are in English."""
    french, english = documents["README.md"].split("\n## English\n")
    metadata, french = french.split("\n---\n", 1)
    pages = {"README.md: metadata": (metadata, "en"), "README.md: fr": (french, "fr"), "README.md: en": (english, "en")}
    for name, text in documents.items():
        if name.endswith((".fr.md", ".en.md", ".json")):
            pages[name] = text, "fr" if name.endswith(".fr.md") else "en"
    assert len(pages) >= 13
    for name, (text, language) in pages.items():
        assert ("FR." if language == "en" else "EN.") not in text, name
