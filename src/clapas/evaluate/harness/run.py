"""Tasks run on a model: figures for reading and for the record, and every answer behind them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from clapas.evaluate.harness.library import library_versions, network, silent
from clapas.evaluate.random_states import own_random_states
from clapas.recipe.errors import UserError

if TYPE_CHECKING:
    from clapas.evaluate.harness.model import HarnessModel
    from clapas.evaluate.harness.tasks import OpenTasks

ITEM_KEYS = ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "doc_hash", "prompt_hash")
"""What is kept of each item, beside its metrics. doc: its row, by which contamination is looked for."""


def run_tasks(
    model: HarnessModel,
    opened: OpenTasks,
    *,
    seed: int = 0,
    num_fewshot: int | None = None,
    limit: int | None = None,
    chat: bool = False,
    system: str | None = None,
    bootstrap: int = 1000,
) -> dict[str, Any]:
    """Run open tasks. `tasks`: name -> version, items, few-shot examples, metrics; `not_run`: name -> why not;
    `groups`; `seeds`, `harness`: what it was measured with; `cut`: requests whose context lost its beginning;
    `items`: every answer. This process's random states are left as they were.

    num_fewshot: examples before each question, where the task does not say 0. limit: items of each task.
    chat: through the model's chat template, after `system` where given. bootstrap: draws for the errors of metrics that
    are no means. Raises UserError where no task can be run.
    """
    from lm_eval.evaluator import evaluate

    if not opened.tasks:
        reasons = "; ".join(f"{name}: {why}" for name, why in opened.not_run.items())
        way_out = "bring the data (HF_HOME), or let them come: --download"
        raise UserError("no task can be run", found=reasons, way_out=way_out)
    for task in opened.tasks.values():
        own = task.get_config("num_fewshot")
        task.set_config(key="num_fewshot", value=num_fewshot if num_fewshot is not None and own != 0 else own or 0)
        task.set_fewshot_seed(seed=seed)
    with own_random_states(seed), network(opened.download), silent():
        found: Any = evaluate(
            lm=model,
            task_dict={"tasks": opened.tasks, "groups": opened.groups, "group_map": _members(opened)},
            limit=limit,
            bootstrap_iters=bootstrap,
            system_instruction=system,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
            log_samples=True,
        )
    return {
        "tasks": {name: _task(name, found, opened) for name in opened.tasks},
        "groups": {name: _metrics(values) for name, values in (found.get("groups") or {}).items()},
        "not_run": dict(opened.not_run),
        "seeds": {"random": seed, "numpy": seed, "torch": seed, "fewshot": seed},
        "harness": library_versions(),
        "chat": chat,
        "limit": limit,
        "requests": dict(model.requests),
        "cut": {kind: count for kind, count in model.cut.items() if count},
        "items": {name: [_item(item) for item in items] for name, items in found["samples"].items()},
    }


def _members(opened: OpenTasks) -> dict[str, list[str]]:
    return {name: list(group.child_names) for name, group in opened.groups.items()}


def _task(name: str, found: dict[str, Any], opened: OpenTasks) -> dict[str, Any]:
    local = opened.local.get(name)
    return {
        "version": found["versions"].get(name),
        "items": found["n-samples"][name]["effective"],
        "of": found["n-samples"][name]["original"],
        "num_fewshot": found["n-shot"].get(name, 0),
        "metrics": _metrics(found["results"][name]),
        "files": None if local is None else local.hashes(),
    }


def _metrics(values: dict[str, Any]) -> dict[str, float | None]:
    """Metric -> value, and `METRIC_stderr` -> its error; a filter other than none is part of the name."""
    metrics: dict[str, float | None] = {}
    for key, value in values.items():
        name, comma, filtered = key.partition(",")
        if comma and name != "alias" and isinstance(value, (int, float)):
            known = math.isfinite(value)
            metrics[name if filtered == "none" else f"{name}@{filtered}"] = float(value) if known else None
    return metrics


def _item(item: dict[str, Any]) -> dict[str, Any]:
    return {key: item[key] for key in (*ITEM_KEYS, *item["metrics"]) if key in item}


def tasks_table(measured: dict[str, Any]) -> str:
    """What `run_tasks` returned, for reading."""
    header = ("task", "version", "items", "shots", "metric", "value", "±")
    rows: list[tuple[str, ...]] = [header]
    for name, task in measured["tasks"].items():
        items = f"{task['items']:,}" if task["items"] == task["of"] else f"{task['items']:,} of {task['of']:,}"
        beside = (name, str(task["version"]), items, str(task["num_fewshot"]))
        for metric, value in task["metrics"].items():
            if "_stderr" in metric:
                continue
            error = task["metrics"].get(_error_of(metric))
            rows.append((*beside, metric, _number(value), _number(error)))
            beside = ("", "", "", "")
    for name, metrics in measured["groups"].items():
        rows += [(name, "", "", "", metric, _number(v), "") for metric, v in metrics.items() if "_stderr" not in metric]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"not run: {name}: {why}" for name, why in measured["not_run"].items()]
    for kind, count in measured["cut"].items():
        lines.append(
            f"{count:,} of {measured['requests'][kind]:,} {kind} requests were too long: their beginning was cut"
        )
    return "\n".join(lines)


def _error_of(metric: str) -> str:
    name, at, filtered = metric.partition("@")
    return f"{name}_stderr{at}{filtered}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
