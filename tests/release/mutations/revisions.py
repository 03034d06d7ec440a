"""Broken intermediate revisions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
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


def _named(name: str) -> Callable[[Case], None]:
    """The same weights under a name of the right form."""

    def rename(case: Case) -> None:
        path = _revision(case)
        path.rename(path.with_name(name))

    return rename


def _again(case: Case) -> None:
    """A second time, as of a step that the run has not kept."""
    path = _revision(case)
    shutil.copytree(path, path.with_name("stage1-step5-tokens5.12k"))


def _the_last(case: Case) -> None:
    """The weights are those of the run's end."""
    shutil.copyfile(case.folder / "model.safetensors", _revision(case) / "model.safetensors")


def _put(name: str, content: bytes) -> Callable[[Case], None]:
    def write(case: Case) -> None:
        path = _revision(case) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    return write


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
    Mutant("a revision named after other tokens", 22, _named("stage1-step10-tokens10B"), only=True),
    Mutant("a revision named after another stage", 22, _named("stage2-step10-tokens10.2k"), only=True),
    Mutant("a revision named after another step", 22, _named("stage1-step20-tokens20.5k"), only=True),
    Mutant("a revision that nobody asked for", 22, _again, only=True),
    Mutant("a revision with the weights of another step", 22, _the_last, only=True),
    Mutant("a revision in a revision, with code", 22, _put("revisions/run.py", b"import os\n"), only=True),
    Mutant("a revision with a GGUF that no check reads", 22, _put("gguf/m-q8_0.gguf", b"GGUF" * 9), only=True),
    Mutant("a revision with figures of nobody's", 22, _put("evaluations/001-tasks.json", b"{}"), only=True),
    Mutant("a revision under another licence", 22, _put("LICENSE", b"Tous droits reserves.\n"), only=True),
    Mutant("a revision without attributions", 22, _put("NOTICE", b"Personne.\n"), only=True),
    Mutant("a revision whose card praises it", 22, _put("README.md", b"# Le meilleur\n"), only=True),
    Mutant("a revision whose weights are cut short", 22, _cut_short, only=True),
    Mutant("a revision with another rope_theta", 22, _other_theta, only=True),
    Mutant("a revision in which a weight is not a number", 22, _not_a_number, only=True),
    Mutant("a revision that names a path of the machine", 22, _leak, only=True),
    Mutant("a revision that was asked for and is missing", 22, _gone),
]
