"""Personal and health data replaced: see `clapas_data.personal` and docs/personal-data.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import field_validator

from clapas_data.optional import versions
from clapas_data.personal.find import find, without_overlaps
from clapas_data.personal.finding import KINDS, Kind
from clapas_data.personal.key import fingerprint, read_key
from clapas_data.personal.names import NamesBy, load_namer
from clapas_data.personal.replace import placeholder, replace
from clapas_data.personal.surrogates import Surrogates
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch

HEALTH_KINDS: tuple[Kind, ...] = ("nir", "ins", "rpps", "ipp", "birth_date", "person")
"""What a source with health data cannot leave in: who is treated, and by whom."""
_PACKAGES = {"presidio": "presidio-analyzer", "eds-nlp": "edsnlp"}


class Personal(Step):
    """Replace personal and health data, and count each kind.

    leave: kinds that stay as they are.
    mode: `placeholder` writes `<TÉLÉPHONE>`; `surrogate` an invented value of the same form, the same for one value
    within a document.
    key: where the surrogates' key is, `env:NAME` or `file:PATH`; it is written nowhere.
    names: `titles` finds names after "Mme", "Dr" and in forms; `presidio` and `eds-nlp` those that their model finds
    too.
    names_model: a package's name or a folder, in place of the usual model.
    """

    version: ClassVar[int] = 1
    edits: ClassVar[bool] = True

    step: Literal["personal"] = "personal"
    leave: tuple[Kind, ...] = ()
    mode: Literal["placeholder", "surrogate"] = "placeholder"
    key: str = "env:CLAPAS_PERSONAL_SECRET_KEY"
    names: NamesBy = "titles"
    names_model: str | None = None

    @field_validator("key")
    @classmethod
    def _key_is_a_place(cls, value: str) -> str:
        if not value.startswith(("env:", "file:")):  # perhaps the key itself: not to be repeated
            raise ValueError("says where the key is, `env:NAME` or `file:PATH`; never the key itself")
        return value

    def under(self, base: Path) -> Personal:
        """The same step with its paths made absolute, from the corpus file's folder."""
        changes: dict[str, Any] = {}
        if self.key.startswith("file:"):
            changes["key"] = f"file:{(base / Path(self.key.removeprefix('file:')).expanduser()).absolute()}"
        if self.names_model and (base / self.names_model).exists():
            changes["names_model"] = str((base / self.names_model).absolute())
        return self.model_copy(update=changes) if changes else self

    def identity(self) -> dict[str, Any]:
        """Its options and version; in place of the key its fingerprint; of a model's package the version."""
        said = {**super().identity(), "key": None}
        if self.mode == "surrogate":
            said["key"] = fingerprint(read_key(self.key))
        if self.names in _PACKAGES:
            load_namer(self.names, self.names_model)
            said |= versions([_PACKAGES[self.names]])
        return said

    def left_in(self, contains: tuple[str, ...]) -> list[Kind]:
        """Kinds that this step leaves although a source that contains such data must not have them."""
        kinds = HEALTH_KINDS if "health" in contains else KINDS
        left: list[Kind] = [kind for kind in kinds if kind in self.leave]
        return left if "health" in contains or len(left) == len(KINDS) else []

    def __call__(self, batch: TextBatch) -> Outcome:
        """Texts without personal data; counts by kind, and of documents that had any (`documents`)."""
        counts: Counter[str] = Counter()
        texts: list[str] | None = None
        kinds = frozenset(KINDS) - set(self.leave)
        for place, text in enumerate(batch.texts):
            findings = find(text, kinds)
            if self.names in _PACKAGES and "person" in kinds:
                findings = without_overlaps([*findings, *load_namer(self.names, self.names_model)(text)])
            if not findings:
                continue
            counts.update(f"personal.{finding.kind}" for finding in findings)
            counts["personal.documents"] += 1
            write = placeholder if self.mode == "placeholder" else Surrogates(read_key(self.key), batch.ids[place])
            texts = texts or list(batch.texts)
            texts[place] = replace(text, findings, write)
        return Outcome(texts=texts, counts=counts)
