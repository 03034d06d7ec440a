"""What was measured, not as it was: check 20."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from tests.release.mutations.mutant import Case, Mutant, Values

from clapas.evaluate.record import EVALUATIONS


def record(case: Case, kind: str) -> Values:
    """A record of a kind, as the evidence has it."""
    return next(one for one in case.evidence.model_dump(mode="json")["measured"] if one["kind"] == kind)


def in_record(kind: str, change: Callable[[Values], object]) -> Callable[[Case], None]:
    """Change what a record says, in the evidence and in its file alike: as if it had been measured so."""

    def change_all(values: Values) -> None:
        for one in values["measured"]:
            if one["kind"] == kind:
                change(one["content"])

    def break_(case: Case) -> None:
        case.with_evidence(change_all)
        for one in case.evidence.measured:
            (case.folder / EVALUATIONS / one.file).write_bytes(orjson.dumps(one.content))

    return break_


def without(kind: str) -> Callable[[Case], None]:
    """Nothing of this kind was ever measured."""

    def break_(case: Case) -> None:
        for name in (record(case, kind)["file"], record(case, kind)["items"]):
            (case.folder / EVALUATIONS / name).unlink()
        case.with_evidence(lambda values: values.update(measured=[m for m in values["measured"] if m["kind"] != kind]))

    return break_


def answers(case: Case, kind: str = "tasks") -> Path:
    return case.folder / EVALUATIONS / record(case, kind)["items"]


def alter_answer(case: Case) -> None:
    path = answers(case)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))


def lose_answers(case: Case) -> None:
    answers(case, "probes").unlink()


def scores_alone(case: Case) -> None:
    """What the model said was never kept: every record tells of the shorter file."""
    path = answers(case)
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(orjson.dumps({**row, "resps": [], "filtered_resps": []}) + b"\n" for row in rows))
    before, now = record(case, "tasks")["items_sha256"], hashlib.sha256(path.read_bytes()).hexdigest()
    text = orjson.dumps(case.evidence.model_dump(mode="json")).replace(before.encode(), now.encode())
    case.with_evidence(lambda values: values.update(orjson.loads(text)))
    for one in case.evidence.measured:
        (case.folder / EVALUATIONS / one.file).write_bytes(orjson.dumps(one.content))


def add_record(case: Case) -> None:
    """Figures that the run's ledger has not told of."""
    one = case.folder / EVALUATIONS / record(case, "tasks")["file"]
    shutil.copyfile(one, one.with_name("099-tasks.json"))


def edit_figure(case: Case) -> None:
    """In the file alone."""
    name = f"{EVALUATIONS}/{record(case, 'tasks')['file']}"
    case.with_json(name, improve)


def improve(content: Values) -> None:
    for task in content["tasks"].values():
        for metric in ("acc", "exact_match"):
            if metric in task["metrics"]:
                task["metrics"][metric] = 0.99


def of_another(content: Values) -> None:
    content["seal"] = "0" * 64


def lose(*keys: str) -> Callable[[Values], object]:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def other_corpus(content: Values) -> None:
    content["manifests"] = ["0" * 64]


def remembers_another(content: Values) -> None:
    content["probes"]["memorisation"]["manifest"] = "0" * 64


def older_answers(content: Values) -> None:
    for one in content["measured"]:
        one["items_sha256"] = "0" * 64


def without_version(content: Values) -> None:
    for task in content["tasks"].values():
        task["version"] = None


MUTANTS = [
    Mutant("an answer is missing", 20, alter_answer, only=True),
    Mutant("the answers behind the probes are missing", 20, lose_answers),
    Mutant("scores without what the model said", 20, scores_alone, only=True),
    Mutant("a record that nobody made", 20, add_record, only=True),
    Mutant("a score is edited in its file", 20, edit_figure, only=True),
    Mutant("a score is better than its answers", 20, in_record("tasks", improve)),
    Mutant("the scores are another checkpoint's", 20, in_record("tasks", of_another), only=True),
    Mutant("the harness' version is not told", 20, in_record("tasks", lose("harness", "lm_eval"))),
    Mutant("a task has no version", 20, in_record("tasks", without_version)),
    Mutant("the seeds are not told", 20, in_record("probes", lose("seeds"))),
    Mutant("the probe of bias was not asked", 20, in_record("probes", lose("probes", "bias"))),
    Mutant("memorisation was asked of text that was not read", 20, in_record("probes", remembers_another), only=True),
    Mutant("no task was run", 20, without("tasks")),
    Mutant("no probe was asked", 20, without("probes")),
    Mutant("nobody looked for contamination", 20, without("contamination")),
    Mutant("contamination was looked for in another corpus", 20, in_record("contamination", other_corpus), only=True),
    Mutant("tasks were measured again since then", 20, in_record("contamination", older_answers), only=True),
]
