"""A corpus's steps run on a batch of documents: what is left of it, what was dropped and why, and counts of it all.

A document that a step drops is seen by no later step. What was dropped can be looked at: of each reason the documents
with the lowest hashes are kept as samples, whatever the number of processes and the order of the work.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from clapas_data.clean import clean
from clapas_data.steps.personal import Personal
from clapas_data.steps.step import Outcome, Step
from clapas_data.text.batch import TextBatch
from clapas_data.text.hash import text_hash

EMPTY = "empty"
SAMPLES = 200
"""Documents of each source and reason that are kept to look at, of a chunk and of a corpus."""
EXCERPT = 2_000
"""Characters of a sample."""
FEW_DEAD = 0.75
"""The share of a batch's documents that must be left for the dropped ones to stay in it."""


@dataclass
class StepCounts:
    """What one step took in and gave out. bytes: UTF-8. changed: documents that it edited. reasons: documents dropped.

    counts: what else it counted. seconds: of one process.
    """

    documents_in: int = 0
    documents_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    changed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @classmethod
    def read(cls, values: dict[str, Any]) -> StepCounts:
        """Counts as JSON keeps them."""
        return cls(**{**values, "reasons": Counter(values["reasons"]), "counts": Counter(values["counts"])})

    def values(self) -> dict[str, Any]:
        """Counts as JSON keeps them: `dataclasses.asdict` makes nonsense of a Counter."""
        found = {part.name: getattr(self, part.name) for part in fields(self)}
        return {**found, "reasons": dict(self.reasons), "counts": dict(self.counts)}

    def add(self, other: StepCounts) -> None:
        """Add another's counts to these."""
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that a step dropped. value: what it measured, None where it says nothing. text: how it begins.

    hash: of the whole text; where `personal` was still to come, of what is shown: short texts can be guessed by theirs.
    """

    source: str
    step: str
    reason: str
    id: str
    value: float | None
    hash: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Passed:
    """What is left of a batch. kept: int64, the places of its documents in the batch that came in.

    texts, scores: of these. counts: a step of the pipeline each. rejected: samples.
    """

    kept: np.ndarray
    texts: list[str]
    scores: dict[str, np.ndarray]
    counts: list[StepCounts]
    rejected: list[Rejected]


def run_steps(steps: Sequence[Step], batch: TextBatch) -> Passed:
    """Run the steps on a batch, in their order."""
    work = _Work(batch)
    rejected: list[Rejected] = []
    for place, step in enumerate(steps):
        rejected += _fit_to_show(work.run(step), steps[place:])
    work.drop_the_dead()
    return Passed(work.kept, work.batch.texts, work.scores, work.counts, rejected)


def _fit_to_show(samples: list[Rejected], steps: Sequence[Step]) -> list[Rejected]:
    """Samples cut to EXCERPT; without personal data where these steps, the one that dropped them first, replace it.

    That step reads the whole text, as it would have: what stands later says what a number is.
    """
    personal = next((step for step in steps if isinstance(step, Personal)), None)
    if personal is None or not samples:
        return [replace(sample, text=sample.text[:EXCERPT]) for sample in samples]
    batch = TextBatch([sample.text for sample in samples], ids=[sample.id for sample in samples])
    texts = [text[:EXCERPT] for text in personal(batch).texts or batch.texts]
    return [
        replace(sample, text=text, hash=text_hash(text.encode())) for sample, text in zip(samples, texts, strict=True)
    ]


class _Work:
    """A batch on its way through the steps.

    Documents that were dropped stay in the batch, marked, as long as few are: taking them out means to take the rest
    apart into words and lines again.
    """

    def __init__(self, batch: TextBatch) -> None:
        self.batch = batch
        self.kept = np.arange(len(batch))
        self.alive = np.ones(len(batch), bool)
        self.sizes = _sizes(batch.texts)
        self.scores: dict[str, np.ndarray] = {}
        self.counts: list[StepCounts] = []

    def run(self, step: Step) -> list[Rejected]:
        """Run one step. Returns samples of what it dropped, raw and whole."""
        began = time.monotonic()
        if step.edits or self.alive.sum() < FEW_DEAD * len(self.alive):
            self.drop_the_dead()
        counts = StepCounts(documents_in=int(self.alive.sum()), bytes_in=int(self.sizes[self.alive].sum()))
        outcome = step(self.batch) if counts.documents_in else Outcome()
        self.scores |= {name: values.astype(np.float32) for name, values in outcome.scores.items()}
        counts.counts.update(outcome.counts)
        rejected: list[Rejected] = []
        for reason, chosen in outcome.rejected.items():
            rejected += self._drop(step.step, reason, chosen & self.alive, outcome.values.get(reason), counts)
        if outcome.texts is not None:
            counts.changed = self._edit(outcome.texts)
            rejected += self._drop(step.step, EMPTY, (self.sizes == 0) & self.alive, None, counts)
        counts.documents_out, counts.bytes_out = int(self.alive.sum()), int(self.sizes[self.alive].sum())
        counts.seconds = time.monotonic() - began
        self.counts.append(counts)
        return rejected

    def drop_the_dead(self) -> None:
        """Take out of the batch what was dropped."""
        if not self.alive.all():
            self.scores = {name: values[self.alive] for name, values in self.scores.items()}
            self.batch, self.kept, self.sizes = (
                self.batch.only(self.alive),
                self.kept[self.alive],
                self.sizes[self.alive],
            )
            self.alive = np.ones(len(self.kept), bool)

    def _edit(self, texts: Sequence[str]) -> int:
        """Put new texts, made uniform again, in the old ones' place. Returns how many are new."""
        pairs = zip(self.batch.texts, texts, strict=True)
        clean_texts = [old if new is old or new == old else clean(new) for old, new in pairs]
        changed = sum(new is not old for new, old in zip(clean_texts, self.batch.texts, strict=True))
        if changed:
            self.batch, self.sizes = self.batch.with_texts(clean_texts), _sizes(clean_texts)
        return changed

    def _drop(
        self, step: str, reason: str, chosen: np.ndarray, values: np.ndarray | None, counts: StepCounts
    ) -> list[Rejected]:
        """Mark documents as dropped. Returns those with the lowest hashes as samples."""
        places = np.flatnonzero(chosen).tolist()
        if not places:
            return []
        counts.reasons[reason] += len(places)
        self.alive[places] = False
        texts, ids, source = self.batch.texts, self.batch.ids, self.batch.source
        lowest = sorted((text_hash(texts[place].encode()), place) for place in places)[:SAMPLES]
        measured = {place: None if values is None else float(values[place]) for _, place in lowest}
        return [Rejected(source, step, reason, ids[place], measured[place], key, texts[place]) for key, place in lowest]


def _sizes(texts: Sequence[str]) -> np.ndarray:
    """UTF-8 bytes of each text."""
    return np.fromiter((len(text.encode()) for text in texts), np.int64, len(texts))


def fewest(samples: Sequence[Rejected], most: int = SAMPLES) -> list[Rejected]:
    """Of samples from several batches, those with the lowest hashes: `most` of each source, step and reason."""
    found: list[Rejected] = []
    taken: Counter[tuple[str, str, str]] = Counter()
    for sample in sorted(samples, key=lambda sample: (sample.source, sample.step, sample.reason, sample.hash)):
        group = (sample.source, sample.step, sample.reason)
        if taken[group] < most:
            taken[group] += 1
            found.append(sample)
    return found
