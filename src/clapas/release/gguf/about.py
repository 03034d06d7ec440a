"""What a GGUF says of the model as a whole: its name, who made it, under which licence, from which texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clapas.release.answers import Answers
from clapas.release.evidence.evidence import Evidence

Value = bool | int | float | str | list[str] | list[int]
"""What a key of a GGUF holds: integers are unsigned and of 32 bits, in lists signed; floats have 32 bits."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A data set or a base model, as a GGUF names it."""

    name: str
    version: str | None
    url: str | None

    def fields(self, prefix: str) -> dict[str, Value]:
        """Its keys, without those of which nothing is known."""
        values = {"name": self.name, "version": self.version, "url": self.url}
        return {f"{prefix}.{key}": value for key, value in values.items() if value}


@dataclass(frozen=True, slots=True)
class About:
    """stem: of the file's name, before the quantisation. name: the model's. values: other keys of `general.`.

    languages: ISO 639 codes. datasets, base_models: in the order in which they are numbered.
    """

    stem: str
    name: str
    values: tuple[tuple[str, str], ...] = ()
    languages: tuple[str, ...] = ()
    datasets: tuple[Origin, ...] = ()
    base_models: tuple[Origin, ...] = ()

    def fields(self) -> dict[str, Value]:
        """The keys of `general.` and their values."""
        fields: dict[str, Value] = {"general.type": "model", "general.name": self.name}
        fields |= {f"general.{key}": value for key, value in self.values}
        if self.languages:
            fields["general.languages"] = list(self.languages)
        for what, origins in (("dataset", self.datasets), ("base_model", self.base_models)):
            if origins:
                fields[f"general.{what}.count"] = len(origins)
            for number, origin in enumerate(origins):
                fields |= origin.fields(f"general.{what}.{number}")
        return fields


def about_release(evidence: Evidence, answers: Answers) -> About:
    """What people and the run's evidence say."""
    model, summary = answers.model, answers.model.summary
    values: dict[str, Any] = {
        "version": model.version,
        "author": ", ".join(f"{author.given_names} {author.family_names}" for author in answers.authors),
        "organization": answers.provider.name,
        "description": f"{summary.fr}\n\n{summary.en}",
        "license": model.licence,
        "url": answers.provider.website,
    }
    read = (source for data in evidence.data for source in data.sources)
    datasets = dict.fromkeys(Origin(source.name, source.revision, source.url) for source in read)
    bases = (Origin(base.name, base.revision, base.url) for base in answers.base_models.values())
    stem = model.repository.split("/")[1]
    return About(stem, model.name, tuple(values.items()), model.languages, tuple(datasets), tuple(bases))


def about_export(name: str) -> About:
    """What is known without a release: the name of the folder."""
    return About(name, name)
