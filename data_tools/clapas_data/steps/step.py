"""What a step of the pipeline is: options as a corpus file gives them, and a pure function on a batch of documents."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from clapas.recipe.typed import Section
from clapas_data.optional import versions
from clapas_data.text.batch import TextBatch


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step says of a batch.

    texts: the documents' new texts; None where none changed. A document left without text is dropped as `empty`.
    rejected: reason -> bool[documents]; the first reason that holds is the one told.
    values: reason -> float[documents], what was measured, shown beside the samples of what was rejected.
    scores: name -> float[documents], kept with the document in `documents.parquet`.
    counts: what else the step counted, such as the kinds of personal data that it replaced.
    """

    texts: list[str] | None = None
    rejected: Mapping[str, np.ndarray] = field(default_factory=dict)
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


class Step(Section):
    """A named step. Its fields are the options of the corpus file; `step`, which each defines, is its name there.

    version: raised when its results change, so that cached work is not taken for new. edits: whether it changes texts
    or counts things in them; one that only looks may also see documents that an earlier step dropped, and is not heard.
    packages: those whose model or rules decide the results; another version of one is another step.
    """

    version: ClassVar[int] = 1
    edits: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()

    step: Any  # each narrows it to its own name

    @abstractmethod
    def __call__(self, batch: TextBatch) -> Outcome:
        """What it says of a batch: pure, the same for the same documents on any machine."""

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of the scores that it gives."""
        return ()

    def under(self, base: Path) -> Step:
        """The same step with its paths made absolute, from the corpus file's folder."""
        return self

    def identity(self) -> dict[str, Any]:
        """What decides its results: its options, its version; a step that reads files adds their hashes."""
        return {"version": self.version, **versions(self.packages), **self.model_dump(mode="json")}

    def recorded(self) -> dict[str, Any]:
        """The options as a manifest records them: files by their hashes, so that it names no machine's folders."""
        return {option: value for option, value in self.identity().items() if option != "step"}


class Across(Section):
    """A step that compares documents with each other. It is no function of a batch: see `choose.py`.

    Such steps stand after all steps of one document, and a source cannot change them.
    """

    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()

    step: Any  # each narrows it to its own name

    def identity(self) -> dict[str, Any]:
        """What decides its results: its options, its version, and those of its packages."""
        return {"version": self.version, **versions(self.packages), **self.model_dump(mode="json")}
