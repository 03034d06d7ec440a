"""A check of the gate: a number, a name, and a function that looks at a draft and says pass, fail or not-run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from clapas.release.answers import Answers
from clapas.release.documents.facts import Facts
from clapas.release.evidence.evidence import Evidence
from clapas.release.gate.live import LiveModel
from clapas.release.gate.seen import Seen
from clapas.release.gate.stranger import Stranger
from clapas.release.sums import Digests

Status = Literal["pass", "fail", "not-run"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found. said: one sentence for each thing found wrong, or one that says what was looked at."""

    status: Status
    said: tuple[str, ...]


def judged(problems: Iterable[str], otherwise: str) -> Verdict:
    """Fail with these problems; pass, saying what was checked, where there are none."""
    found = tuple(problems)
    return Verdict("fail", found) if found else Verdict("pass", (otherwise,))


def not_run(why: str) -> Verdict:
    """The check could not run, or had nothing to look at."""
    return Verdict("not-run", (why,))


@dataclass
class Draft:
    """A release before its signature, or one that a stranger verifies.

    folder: as exported, with its documents. evidence, answers: as read from the run and by people; those in the folder
    must equal them. live: the checkpoint that was exported, None for a stranger. stranger: a clean process with stock
    transformers; None where that is not installed. gguf, revisions: what was asked for. is_revision: an intermediate
    checkpoint, which has less beside it. digests: of its files, each hashed once. facts: what its documents were
    rendered from; None for a stranger, who takes them from the folder.
    """

    folder: Path
    evidence: Evidence
    answers: Answers
    live: LiveModel | None
    stranger: Stranger | None
    gguf: tuple[str, ...] = ()
    revisions: tuple[str, ...] = ()
    is_revision: bool = False
    digests: Digests = field(default_factory=Digests)
    facts: Facts | None = None

    @cached_property
    def seen(self) -> Seen | None:
        """What stock transformers sees in the folder; asked once."""
        if self.stranger is None:
            return None
        probes = None if self.live is None or self.is_revision else self.live.probes
        return self.stranger.look(self.folder, probes)


@dataclass(frozen=True, slots=True)
class Check:
    """what: what it makes sure of, one line. mandatory: whether not having run blocks a draft."""

    number: int
    name: str
    what: str
    function: Callable[[Draft], Verdict]
    mandatory: Callable[[Draft], bool] = lambda draft: True


@dataclass(frozen=True, slots=True)
class Result:
    """A check's verdict on a draft, as `release.json` keeps it."""

    number: int
    name: str
    what: str
    mandatory: bool
    status: Status
    said: tuple[str, ...]

    @property
    def blocks(self) -> bool:
        """Whether a draft with this result is not released."""
        return self.status == "fail" or (self.status == "not-run" and self.mandatory)
