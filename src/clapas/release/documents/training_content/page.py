"""A page of questions and answers: every question of the template stands in bold, its answer below it."""

from __future__ import annotations

import re

from clapas.release.documents.training_content.template import QUESTIONS, SECTIONS, TITLE
from clapas.release.documents.words import Language, typeset

QUESTION = re.compile(r"^\*\*(?P<asked>[^*]+)\*\*$")


class Page:
    """The summary in one language, as it is written. Sections begin by themselves where their first question stands."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._lines = [f"# {TITLE[language]}"]
        self._open = list(SECTIONS)

    def say(self, text: str) -> None:
        """A paragraph that answers no question."""
        self._lines.append(text)

    def answer(self, name: str, answer: str) -> None:
        """A question and its answer, in Markdown."""
        question = QUESTIONS[name]
        self._begin(question.section)
        self._lines += [f"**{question.asked(self.language)}**", answer.strip()]

    def yes_or_no(self, name: str, is_yes: bool) -> None:
        """A question whose answer is a box ticked."""
        yes, no = ("Oui", "Non") if self.language == "fr" else ("Yes", "No")
        self.answer(name, f"{'☒' if is_yes else '☐'} {yes}   {'☐' if is_yes else '☒'} {no}")

    def _begin(self, section: str) -> None:
        """The titles up to and with this section's, where they do not stand yet."""
        while section in self._open:
            number = self._open.pop(0)
            self._lines.append(f"{'#' * (2 + number.count('.'))} {SECTIONS[number][self.language]}")

    def written(self) -> bytes:
        """The page as a file."""
        text = "\n\n".join(self._lines) + "\n"
        return (typeset(text) if self.language == "fr" else text).encode()


def answers_on(page: str, language: Language) -> dict[str, str]:
    """Question -> the answer below it, of a page as `Page` writes it; questions that do not stand there are left out.

    Spaces count as spaces, broken or not.
    """
    names = {question.asked(language): name for name, question in QUESTIONS.items()}
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in plain_spaces(page).splitlines():
        asked = QUESTION.match(line)
        if asked and asked["asked"] in names:
            current = found.setdefault(names[asked["asked"]], [])
        elif line.startswith("#") and line.lstrip("#").strip() in (titles[language] for titles in SECTIONS.values()):
            current = []
        else:
            current.append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def titles_on(page: str, language: Language) -> list[str]:
    """Numbers of the template's sections whose titles stand on a page, in its order."""
    numbers = {titles[language]: number for number, titles in SECTIONS.items()}
    lines = (line.lstrip("#").strip() for line in plain_spaces(page).splitlines() if line.startswith("#"))
    return [numbers[line] for line in lines if line in numbers]


def plain_spaces(text: str) -> str:
    """With no no-break spaces."""
    return re.sub("[\u00a0\u202f]", " ", text)
