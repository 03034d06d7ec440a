"""`index.json` of a mirror: all models, versions and files, for programs; the page for people is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import orjson
import pydantic

from clapas.recipe.errors import UserError
from clapas.recipe.typed import Section
from clapas.release.asked.forms import Bilingual
from clapas.release.publish.contents import Contents, File

INDEX, PAGE = "index.json", "index.html"


class IndexedFile(Section):
    """bytes; SHA-256, hexadecimal."""

    size: int
    sha256: str


class Version(Section):
    """A published version. published: day, ISO 8601. files: by their name below MODEL/VERSION/."""

    published: str
    title: str
    summary: Bilingual
    licence: str
    provider: str
    questions: str
    takedown: str
    files: dict[str, IndexedFile]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


class Index(Section):
    """models: name -> version -> what it is; the newest version last."""

    format: Literal["clapas-mirror-1"] = "clapas-mirror-1"
    models: dict[str, dict[str, Version]] = pydantic.Field(default_factory=dict)

    def version(self, model: str, version: str) -> Version | None:
        """A version that the mirror holds."""
        return self.models.get(model, {}).get(version)

    def to_json(self) -> bytes:
        """The same index gives the same bytes."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_index(content: bytes | None, where: str) -> Index:
    """The index, empty where there is none. Raises UserError for a file that is none of ours."""
    if content is None:
        return Index()
    try:
        return Index.model_validate_json(content)
    except pydantic.ValidationError as error:
        raise UserError(
            "not a mirror's index",
            where=where,
            found=error.errors(include_url=False)[0]["msg"],
            way_out="another place: this file would be replaced",
        ) from None


def with_version(index: Index, contents: Contents, files: Mapping[str, File]) -> Index:
    """The index with a release in it. files: by their name in the mirror."""
    answers, below = contents.answers, f"{contents.name}/{contents.version}/"
    version = Version(
        published=datetime.now(UTC).date().isoformat(),
        title=answers.model.name,
        summary=answers.model.summary,
        licence=answers.model.licence,
        provider=answers.provider.name,
        questions=answers.contacts.questions,
        takedown=answers.contacts.takedown,
        files={
            name.removeprefix(below): IndexedFile(size=file.size, sha256=file.sha256)
            for name, file in sorted(files.items())
        },
    )
    versions = {**index.models.get(contents.name, {}), contents.version: version}
    return Index(models={**index.models, contents.name: versions})
