"""Broken intermediate revisions."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.release.mutations.mutant import Case, Mutant
from tests.release.mutations.weights import load_all, write_one

from clapas.release.gate.reading import EMBEDDING
from clapas.release.layout import REVISIONS

RARE = 1500


def _revision(case: Case) -> Path:
    return next((case.folder / REVISIONS).iterdir())


def _renamed(case: Case) -> None:
    path = _revision(case)
    path.rename(path.with_name("step10"))


def _beyond_the_end(case: Case) -> None:
    path = _revision(case)
    path.rename(path.with_name("stage1-step999999-tokens10B"))


def _cut_short(case: Case) -> None:
    weights = _revision(case) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _gone(case: Case) -> None:
    shutil.rmtree(_revision(case))


def _other_theta(case: Case) -> None:
    name = f"{REVISIONS}/{_revision(case).name}/config.json"
    case.with_json(name, lambda config: config.update(rope_theta=5000.0))


def _not_a_number(case: Case) -> None:
    """In the row of one rare token, which no text that a gate tries reads."""
    folder = _revision(case)
    tensors = load_all(folder)
    tensors[EMBEDDING][RARE] = float("nan")
    write_one(folder, tensors)


def _leak(case: Case) -> None:
    case.with_text(f"{REVISIONS}/{_revision(case).name}/README.md", "# ", f"Depuis {Path.cwd()}/runs/demo\n\n# ")


MUTANTS = [
    Mutant("a revision under another name", 22, _renamed, only=True),
    Mutant("a revision of a step that the run never reached", 22, _beyond_the_end, only=True),
    Mutant("a revision whose weights are cut short", 22, _cut_short, only=True),
    Mutant("a revision with another rope_theta", 22, _other_theta, only=True),
    Mutant("a revision in which a weight is not a number", 22, _not_a_number, only=True),
    Mutant("a revision that names a path of the machine", 22, _leak, only=True),
    Mutant("a revision that was asked for and is missing", 22, _gone),
]
