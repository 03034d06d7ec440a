"""A good release broken in every way that we could think of: each is found, and each check finds something alone.

python -m tests.release.mutants RUN ANSWERS     breaks a release of RUN; prints a line a mutant, then what was missed

Mutants of the draft stand in `tests/release/mutations/`, by topic. Those of the sealed folder (23) and of an upload
(24) have runners of their own.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.release.mutations import (
    ai_act,
    card,
    config,
    evaluations,
    files,
    gguf,
    licences,
    loading,
    logits,
    privacy,
    revisions,
    signature,
    sources,
    template,
    tokenizer,
    tokens,
    weights,
)
from tests.release.mutations.mutant import Case, Mutant
from tests.release.remembering import Remembering

from clapas.checkpoint.committed import committed_checkpoints, step_of
from clapas.release.answers import read_answers
from clapas.release.gate.all_checks import BEFORE_SEALING, SEALED
from clapas.release.gate.check import Result
from clapas.release.gate.gate import run_checks
from clapas.release.gate.stranger import Stranger
from clapas.release.keys import generate_key
from clapas.release.release import Wishes, draft_release, seal_draft, write_documents
from clapas.release.signature import LocalKey
from clapas.release.sums import Digests

TOPICS = (
    files, weights, config, tokens, tokenizer, template, loading, logits, licences, sources, ai_act, privacy,
    evaluations, card, revisions,
)  # fmt: skip
MUTANTS: tuple[Mutant, ...] = tuple(mutant for topic in TOPICS for mutant in topic.MUTANTS)
GGUF = ("f32", "q8_0")
SHARD_BYTES = 300_000
"""Small, so that the weights are in several files with an index."""


@dataclass(frozen=True)
class Caught:
    """What the gate said of a mutant: the checks that block it."""

    mutant: Mutant
    by: tuple[int, ...]

    @property
    def is_caught(self) -> bool:
        """By the check that it was made for; by no other where it says so."""
        return self.mutant.check in self.by and (not self.mutant.only or self.by == (self.mutant.check,))


class Breaker:
    """A good draft in a new folder, of which it breaks copies beside it."""

    def __init__(self, run: Path, answers: Path, wishes: Wishes, folder: Path, stranger: Stranger) -> None:
        folder.mkdir()
        self.folder, self._wishes = folder, wishes
        self.draft = draft_release(run, folder / "good", read_answers(answers), wishes, stranger)

    def good(self) -> tuple[Result, ...]:
        """What the gate says of the draft as it is: nothing against it, or no mutant means anything."""
        return run_checks(self.draft, BEFORE_SEALING)

    def caught(self, mutant: Mutant) -> Caught:
        """Break a copy of the draft, and look at it."""
        copy = Path(shutil.copytree(self.draft.folder, self.folder / "copy"))
        try:
            case = Case(copy, self.draft.evidence, self.draft.answers)
            mutant.break_(case)
            if case.render_again:
                write_documents(copy, case.evidence, case.answers, Digests(), self._wishes.signer)
            broken = replace(self.draft, folder=copy, evidence=case.evidence, answers=case.answers, digests=Digests())
            return Caught(
                mutant, tuple(result.number for result in run_checks(broken, BEFORE_SEALING) if result.blocks)
            )
        finally:
            shutil.rmtree(copy)

    def caught_sealed(self) -> Iterator[Caught]:
        """The same of what is done to a folder after it was sealed, which check 23 finds; nothing else looks then."""
        sealed = Path(shutil.copytree(self.draft.folder, self.folder / "sealed"))
        seal_draft(replace(self.draft, folder=sealed), self.good(), self._wishes.signer)
        for mutant in signature.SEALED_MUTANTS:
            copy = Path(shutil.copytree(sealed, self.folder / "copy"))
            mutant.break_(Case(copy, self.draft.evidence, self.draft.answers))
            broken = replace(self.draft, folder=copy, digests=Digests())
            yield Caught(mutant, tuple(result.number for result in run_checks(broken, (SEALED,)) if result.blocks))
            shutil.rmtree(copy)


def alone(found: Iterable[Caught]) -> dict[int, list[str]]:
    """Check -> the mutants that it alone finds."""
    names: dict[int, list[str]] = defaultdict(list)
    for caught in found:
        if len(caught.by) == 1:
            names[caught.by[0]].append(caught.mutant.name)
    return dict(names)


def broken_in_all_ways(run: Path, answers: Path, revision: int, place: Path) -> Iterator[Caught]:
    """Every mutant of a release of a run. revision: the step of an intermediate checkpoint. place: for what is made.

    GGUF files say again what the weights say, so they are broken beside weights that are not. Raises ValueError where
    the release is not good to begin with: then no mutant means anything.
    """
    generate_key(place / "keys")
    signer = LocalKey(place / "keys" / "key.pem")
    with Remembering() as stranger:
        plain = Wishes(signer, shard_bytes=SHARD_BYTES, revisions=(revision,))
        for name, wishes, mutants in (("plain", plain, MUTANTS), ("gguf", Wishes(signer, gguf=GGUF), gguf.MUTANTS)):
            breaker = Breaker(run, answers, wishes, place / name, stranger)
            if blocked := [result for result in breaker.good() if result.blocks]:
                raise ValueError(f"the release is not good to begin with: {blocked}")
            yield from map(breaker.caught, mutants)
            if name == "plain":
                yield from breaker.caught_sealed()


def main(arguments: Sequence[str]) -> int:
    """Break a release of a run; 0 where all is found."""
    run, answers = map(Path, arguments)
    first = committed_checkpoints(run / "checkpoints")[0]
    found: list[Caught] = []
    with tempfile.TemporaryDirectory() as place:
        for caught in broken_in_all_ways(run, answers, step_of(first), Path(place)):
            found.append(caught)
            mark = "      " if caught.is_caught else "MISSED"
            print(f"{mark} {caught.mutant.check:>2} {caught.mutant.name}: by {caught.by or 'nobody'}", flush=True)
    missed = sum(not caught.is_caught for caught in found)
    lonely = alone(found)
    print(f"{len(found)} mutants, {missed} missed; checks that find one alone: {', '.join(map(str, sorted(lonely)))}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
