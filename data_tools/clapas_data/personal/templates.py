"""Labelled documents to measure the detectors on: YAML files whose texts say what stands where.

`[[phone|06 12 34 56 78]]` is a value to find; `[[!siret|732 829 320 00074]]` one that must not be touched; all else is
text in which nothing may be found. `name` labels a person's name without a title: told apart, since only a model finds
it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from clapas.recipe.errors import UserError
from clapas.recipe.typed import Section, TypedFile, read_typed
from clapas_data.personal.finding import KINDS

NAME = "name"
_MARK = re.compile(r"\[\[(?P<negative>!)?(?P<kind>\w+)\|(?P<value>(?:(?!\]\]).)+)\]\]", re.DOTALL)


class Label(NamedTuple):
    """A labelled value. negative: must not be touched; kind is then what it is, in the author's word."""

    kind: str
    start: int
    stop: int
    negative: bool


class Template(Section):
    """A document with its labels written inline."""

    id: str
    genre: str = "text"
    text: str

    def read(self) -> tuple[str, list[Label]]:
        """The text as it stands, and its labels. Raises UserError for a kind that is none."""
        parts: list[str] = []
        labels: list[Label] = []
        done = length = 0
        for mark in _MARK.finditer(self.text):
            plain = self.text[done : mark.start()]
            start = length + len(plain)
            length = start + len(mark["value"])
            parts += (plain, mark["value"])
            negative = mark["negative"] is not None
            if not negative and mark["kind"] not in (*KINDS, NAME):
                wanted = ", ".join((*KINDS, NAME))
                raise UserError("no such kind of personal data", where=self.id, found=mark["kind"], wanted=wanted)
            labels.append(Label(mark["kind"], start, length, negative))
            done = mark.end()
        text = "".join((*parts, self.text[done:]))
        if "[[" in text:
            near = text[text.index("[[") :][:40]
            raise UserError("a mark that does not read as [[kind|value]]", where=self.id, found=near)
        return text, labels


class TemplateSet(TypedFile):
    """A set of labelled documents."""

    name: str
    about: str = ""
    documents: Annotated[tuple[Template, ...], Field(min_length=1)]


def read_templates(path: Path) -> TemplateSet:
    """The set of a file. Raises UserError that names every mistake."""
    return read_typed(path, TemplateSet)
