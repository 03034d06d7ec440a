"""A mutant: one way to break a good release before it is signed, and the check that must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from clapas.release.answers import Answers
from clapas.release.evidence.evidence import Evidence

Values = dict[str, Any]


@dataclass
class Case:
    """A copy of a good draft that a mutant may change as it likes.

    folder: its files. evidence, answers: what the documents are rendered from; whoever changes these (`with_evidence`,
    `with_answers`) breaks the facts, and not the documents' agreement with them: the runner renders them again.
    """

    folder: Path
    evidence: Evidence
    answers: Answers
    render_again: bool = False

    def with_evidence(self, change: Callable[[Values], object]) -> None:
        """Change the evidence, as a run that was otherwise would have left it; the documents follow."""
        values = self.evidence.model_dump(mode="json")
        change(values)
        self.evidence = Evidence.model_validate(values)
        self.render_again = True

    def with_answers(self, change: Callable[[Values], object]) -> None:
        """Change what people answered; the documents follow."""
        values = self.answers.model_dump(mode="json")
        change(values)
        self.answers = Answers.model_validate(values)
        self.render_again = True

    def with_json(self, name: str, change: Callable[[Values], object]) -> None:
        """Change a JSON file of the folder."""
        path = self.folder / name
        values = orjson.loads(path.read_bytes())
        change(values)
        path.write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2))

    def with_text(self, name: str, old: str, new: str) -> None:
        """Replace a passage, which must be there, of a text file of the folder."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}: this mutant breaks nothing"
        path.write_text(text.replace(old, new), encoding="utf-8")


@dataclass(frozen=True)
class Mutant:
    """name: what is broken, in words. check: the number of the check that finds it. only: whether no other does."""

    name: str
    check: int
    break_: Callable[[Case], object]
    only: bool = False
