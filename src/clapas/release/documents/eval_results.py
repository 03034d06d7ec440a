"""The Hub's newer form of results: `.eval_results/NAME.yaml`, which its pages of benchmarks read.

Only what is a data set on a hub can stand there, so people say which task or split is one (`benchmarks`). A task's
value is that of its first metric.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from clapas.release.documents.facts import Facts
from clapas.release.documents.results import last_held_out, task_results
from clapas_data.optional import needs

FOLDER = ".eval_results"


def documents(facts: Facts) -> dict[str, bytes]:
    """A file for each task or split that is a benchmark. Raises UserError where `huggingface_hub` is not installed."""
    with needs("huggingface_hub", "results for the Hub", extra="release"):
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    named: dict[str, list[EvalResultEntry]] = {}
    for name, entry in _entries(facts):
        named.setdefault(name, []).append(EvalResultEntry(**entry))
    return {
        f"{FOLDER}/{re.sub('[^A-Za-z0-9_.-]', '-', name)}.yaml": yaml.safe_dump(
            eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=120
        ).encode()
        for name, entries in named.items()
    }


def _entries(facts: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, fields) of what was measured on a benchmark."""
    benchmarks = facts.answers.benchmarks
    for row in last_held_out(facts.evidence):
        if benchmark := benchmarks.get(row.split):
            metric, value = ("loss", row.loss) if row.bits_per_byte is None else ("bits per byte", row.bits_per_byte)
            fields = {"dataset_id": benchmark.dataset, "task_id": benchmark.task, "value": value, "date": facts.date}
            yield row.split, fields | {"notes": metric}
    for task in task_results(facts.evidence):
        if (benchmark := benchmarks.get(task.name)) and task.metrics:
            metric, (value, _) = next(iter(task.metrics.items()))
            fields = {"dataset_id": benchmark.dataset, "task_id": benchmark.task, "value": value, "date": task.day}
            yield task.name, fields | {"notes": f"{metric}, {task.num_fewshot}-shot, seed {task.seed}, {task.harness}"}
