"""`release.yaml`: what only people know of a release, asked once, in French and English where the public reads it.

Nothing here has a default that could pass for an answer: a blank, or a word that stands for one, is refused with its
line, before anything is written. All else that the documents say is computed from the run (see `release.evidence`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, model_validator

from clapas.recipe.errors import UserError
from clapas.recipe.typed import TypedFile, read_typed
from clapas.release.asked.blanks import blanks
from clapas.release.asked.content import TrainingContent
from clapas.release.asked.model import Author, Benchmark, Change, Contacts, EvaluationSet, Model, Provider, Signer, Use
from clapas.release.asked.training import Documentation, Energy, FirstModel, Health


class Answers(TypedFile):
    """A whole `release.yaml`. base_models: by the name of the folder that `model.from`, `lora.from` or a teacher named.

    benchmarks: by the name of a task or of a held-out split, where what it asks is a data set on a hub: only these
    results can stand on its pages. evaluation_sets: by the name of a task, or by what the names of several begin with:
    whose the questions are that it was asked, but for those that ship with Clapas. signer: null where a local key
    signs.
    """

    model: Model
    provider: Provider
    contacts: Contacts
    authors: Annotated[tuple[Author, ...], Field(min_length=1)]
    use: Use
    training_content: TrainingContent
    documentation: Documentation
    energy: Energy
    health: Health | None = None
    base_models: dict[str, FirstModel] = Field(default_factory=dict)
    benchmarks: dict[str, Benchmark] = Field(default_factory=dict)
    evaluation_sets: dict[str, EvaluationSet] = Field(default_factory=dict)
    changes: Annotated[tuple[Change, ...], Field(min_length=1)]
    signer: Signer | None = None

    def to_yaml(self) -> str:
        """Every answer; reading it gives equal answers."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)

    @model_validator(mode="after")
    def _this_version_is_told(self) -> Answers:
        if self.model.version not in (told := [change.version for change in self.changes]):
            raise ValueError(f"changes: found {', '.join(told)}; must tell of {self.model.version}, which is released")
        return self


def read_answers(path: Path) -> Answers:
    """The answers in a file. Raises UserError that names the line of every blank and placeholder."""
    if not path.is_file():
        way_out = "`clapas release RUN --template > release.yaml` writes a blank one"
        raise UserError("no such file", where=path, wanted="the answers, a release.yaml", way_out=way_out)
    answers = read_typed(path, Answers)
    if blank := list(blanks(answers)):
        lines = "\n".join(f"           {answers.place(key) or path}: {key}: {found}" for key, found in blank)
        raise UserError(
            f"{len(blank)} answer{'s are' if len(blank) > 1 else ' is'} still open",
            where=path,
            found=f"\n{lines}",
            wanted="an answer from somebody who knows; nothing is assumed",
        )
    return answers
