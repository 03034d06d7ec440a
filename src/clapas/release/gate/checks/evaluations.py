"""Check 20: this checkpoint was measured, with every answer at hand, and it is known which questions it had read.

Tasks with the harness's versions and seeds, the four probes, and a contamination report for each corpus of the lineage
that covers the last record of each task. The answers are counted again: a figure that they do not give is not theirs.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from clapas.evaluate.probes.names import PROBES
from clapas.evaluate.record import EVALUATIONS
from clapas.release.evidence.evidence import Evidence, Measured
from clapas.release.gate.check import Check, Draft, Verdict, judged
from clapas.release.gate.reading import Unreadable, read_object
from clapas.release.personal_data import memorisation_of

HARNESS = "lm_eval"
MEANS = ("acc", "acc_norm", "exact_match")
"""Metrics that are means over items, under any task."""
OUTPUTS = "resps"
"""The field in which an answer has the model's own outputs, as the harness calls it."""
TOLERANCE = 1e-9


def check_evaluations(draft: Draft) -> Verdict:
    """The records as files, then what they say, then what is missing."""
    measured = draft.evidence.measured
    problems = [problem for one in measured for problem in _record(draft, one)]
    problems += _unknown(draft.folder, measured)
    problems += _probes(draft.evidence)
    problems += _tasks(draft.folder, measured)
    problems += _contamination(draft.evidence)
    return judged(problems, _told(measured))


def _told(measured: tuple[Measured, ...]) -> str:
    tasks = _last_by_task(measured)
    last = {tuple(own): one.content for one in _of(measured, "contamination") if (own := one.content.get("manifests"))}
    looked = [own for content in last.values() for own in content["tasks"].values()]
    overlapping, items = (sum(own[key] for own in looked) for key in ("overlapping", "looked_for"))
    return f"{len(tasks)} tasks and {len(PROBES)} probes; {overlapping} of {items} items looked for stand in the text"


def _of(measured: tuple[Measured, ...], kind: str) -> list[Measured]:
    return [one for one in measured if one.kind == kind]


def _record(draft: Draft, measured: Measured) -> Iterator[str]:
    """A record's two files are those that the run's ledger told, and of this checkpoint."""
    folder, name = draft.folder / EVALUATIONS, measured.file
    content = read_object(folder, name)
    if isinstance(content, Unreadable):
        yield f"{EVALUATIONS}/{content.why}"
    elif content != measured.content:
        yield f"{EVALUATIONS}/{name} is not what was recorded"
    if (seal := measured.content.get("seal")) != draft.evidence.checkpoint_seal:
        yield f"{name} was measured of another checkpoint ({str(seal)[:16]}…)"
    try:
        digest = hashlib.sha256((folder / measured.items).read_bytes()).hexdigest()
    except OSError as error:
        yield f"{EVALUATIONS}/{measured.items}, the answers behind {name}, cannot be read: {error.strerror}"
    else:
        if digest != measured.items_sha256:
            yield f"{EVALUATIONS}/{measured.items} are not the answers that were recorded"
    if measured.kind in ("tasks", "probes") and not measured.content.get("seeds"):
        yield f"{name} does not say its seeds"


def _unknown(folder: Path, measured: tuple[Measured, ...]) -> Iterator[str]:
    """Files of figures that the run's ledger has not told of."""
    known = {name for one in measured for name in (one.file, one.items)}
    there = sorted(path.name for path in (folder / EVALUATIONS).glob("*"))
    yield from (f"{EVALUATIONS}/{name}: nobody recorded it" for name in there if name not in known)


def _probes(evidence: Evidence) -> Iterator[str]:
    """All were asked; what was remembered, of text that the model has read: of any other it remembers nothing.

    Examples may be too short to be asked of, or none is held out: then the record says why.
    """
    records = _of(evidence.measured, "probes")
    asked = {name for one in records for name in one.content.get("probes", {})}
    if "memorisation" not in asked and evidence.own_data.kind != "text":
        asked |= {name for one in records for name in one.content.get("not_run", {})} & {"memorisation"}
    if missing := [name for name in PROBES if name not in asked]:
        yield f"not measured: {', '.join(missing)} (`clapas eval RUN --probe {','.join(missing)} --record`)"
        return
    manifests = {probe.get("manifest") for probe in memorisation_of(evidence)}
    if manifests and manifests.isdisjoint(data.manifest_hash for data in evidence.data):
        names = ", ".join(dict.fromkeys(data.name for data in evidence.data))
        command = "`clapas eval RUN --probe memorisation --record --data FOLDER`"
        yield f"memorisation was measured on text that this model has not read; it has read {names} ({command})"


def _last_by_task(measured: tuple[Measured, ...]) -> dict[str, Measured]:
    """Each task's last record, as documents tell it."""
    return {task: one for one in _of(measured, "tasks") for task in one.content.get("tasks", {})}


def _tasks(folder: Path, measured: tuple[Measured, ...]) -> Iterator[str]:
    tasks = _last_by_task(measured)
    if not tasks:
        yield "not measured: any task (`clapas eval RUN --tasks NAMES --record`)"
    for one in {one.file: one for one in tasks.values()}.values():
        if not (one.content.get("harness") or {}).get(HARNESS):
            yield f"{one.file} does not say the version of {HARNESS}"
        answers = _answers(folder / EVALUATIONS / one.items)
        for task, own in one.content["tasks"].items():
            yield from (f"{one.file}: {task}: {problem}" for problem in _task(own, answers.get(task, {})))


def _answers(path: Path) -> dict[str, dict[Any, dict[str, Any]]]:
    """Task -> item -> its answer; of several filters that which changes nothing. Empty where the file is unsound, which
    its hash tells."""
    found: dict[str, dict[Any, dict[str, Any]]] = defaultdict(dict)
    try:
        for line in path.read_bytes().splitlines():
            row = orjson.loads(line)
            if row.get("filter", "none") == "none" or row["doc_id"] not in found[row["of"]]:
                found[row["of"]][row["doc_id"]] = row
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return {}
    return found


def _task(task: dict[str, Any], answers: dict[Any, dict[str, Any]]) -> Iterator[str]:
    """A version, as many answers as items, and the figures that they give."""
    if task.get("version") is None:
        yield "has no version"
    if len(answers) != task.get("items"):
        yield f"{task.get('items')} items, and {len(answers)} answers"
    if scored := sum(not answer.get(OUTPUTS) for answer in answers.values()):
        yield f"{scored} answers are scores alone, without what the model said ({OUTPUTS})"
    for metric in MEANS:
        plain = [answer for answer in answers.values() if answer.get("filter", "none") == "none"]
        values = [value for answer in plain if isinstance(value := answer.get(metric), int | float)]
        said = task.get("metrics", {}).get(metric)
        if said is None or not plain or len(values) != len(plain):
            continue
        mean = math.fsum(values) / len(values)
        if abs(mean - said) > TOLERANCE:
            yield f"says {metric} {said:.6f}, and its answers give {mean:.6f}"


def _contamination(evidence: Evidence) -> Iterator[str]:
    """Each corpus of the lineage was looked through, for every task."""
    reports = _of(evidence.measured, "contamination")
    tasks = _last_by_task(evidence.measured)
    command = "`clapas eval RUN --contamination --record`"
    if tasks and not reports:
        yield f"nobody looked whether the tasks' items stand in the training text ({command})"
        return
    for data in evidence.data:
        own = [one.content for one in reports if data.manifest_hash in one.content.get("manifests", ())]
        if data.tokens_read and not own:
            yield f"nobody looked for the tasks' items in {data.name}, which {data.of} read ({command} --data FOLDER)"
            continue
        covered = {
            (task, record["items_sha256"]) for one in own for task in one["tasks"] for record in one.get("measured", ())
        }
        lost = [task for task, one in tasks.items() if (task, one.items_sha256) not in covered]
        if data.tokens_read and lost:
            yield f"items of {', '.join(lost)} were not looked for in {data.name} as measured last ({command})"


CHECK = Check(20, "evaluations", "measured with answers, seeds and versions; contamination reported", check_evaluations)
