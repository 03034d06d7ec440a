"""Tasks that lie in files: those that ship with us, and the user's own. Knows no torch and does not need `lm-eval`.

A task is a YAML file as `lm-eval` reads it. Where it says `dataset_path: json`, its `data_files` are read beside it and
without `datasets`' cache, so that it runs anywhere, offline.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash

SHIPPED = Path(__file__).parents[1] / "tasks"
LOCAL = "local"
"""The name for all tasks that ship."""


@dataclass(frozen=True, slots=True)
class LocalTask:
    """A task's file. name: as results call it. generates: whether the model writes text, instead of judging some."""

    name: str
    path: Path
    generates: bool
    data_files: dict[str, Path]

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the task's files, by name: what was measured is what they said."""
        return {path.name: file_hash(path) for path in (self.path, *dict.fromkeys(self.data_files.values()))}


def shipped_tasks() -> list[LocalTask]:
    """The tasks that ship with us, by name."""
    return [read_task(path) for path in sorted(SHIPPED.glob("*.yaml"))]


def is_local(word: str) -> bool:
    """Whether a word names tasks in files: a path, `local`, or a task that ships."""
    return (
        word == LOCAL or word.endswith((".yaml", ".yml")) or Path(word).is_dir() or (SHIPPED / f"{word}.yaml").is_file()
    )


def find_local(word: str) -> list[LocalTask]:
    """The tasks that a word names. Raises UserError where there are none, or one is not sound."""
    if word == LOCAL:
        return shipped_tasks()
    shipped, path = SHIPPED / f"{word}.yaml", Path(word)
    if shipped.is_file():
        return [read_task(shipped)]
    if path.is_dir():
        paths = sorted(found for kind in ("*.yaml", "*.yml") for found in path.glob(kind) if found.name[0] not in "_.")
        if not paths:
            raise UserError("no task here", where=path, wanted="YAML files as lm-eval reads them")
        return [read_task(found) for found in paths]
    if path.is_file():
        return [read_task(path)]
    names = [task.stem for task in sorted(SHIPPED.glob("*.yaml"))]
    close = difflib.get_close_matches(word, names, n=1)
    raise UserError(
        "no such task",
        where=word,
        wanted=f"a task's YAML file, a folder of such, or one of: {', '.join([LOCAL, *names])}",
        way_out=f"did you mean {close[0]}?" if close else None,
    )


def find_local_tasks(words: Iterable[str]) -> list[LocalTask]:
    """The tasks of several words, each once. Raises UserError where two files give one name."""
    found: dict[str, LocalTask] = {}
    for task in (task for word in words for task in find_local(word)):
        if (other := found.setdefault(task.name, task)).path.resolve() != task.path.resolve():
            raise UserError(f"two tasks are called {task.name!r}", where=task.path, found=str(other.path))
    return list(found.values())


class _Names(yaml.SafeLoader):
    """YAML as the harness writes it, its `!function` tags read as text."""


_Names.add_multi_constructor("!", lambda loader, _, node: loader.construct_scalar(node))


def read_task(path: Path) -> LocalTask:
    """What a task's file says of itself. Raises UserError where it is no task, or a file of its data is missing."""
    try:
        config = yaml.load(path.read_bytes(), _Names)
    except OSError as problem:
        raise UserError(f"cannot be read: {problem.strerror}", where=path) from None
    except yaml.YAMLError as error:
        raise UserError(f"not YAML: {' '.join(str(error).split())}", where=path) from None
    if not isinstance(config, dict) or not isinstance(config.get("task"), str):
        wanted = "a task's file, with the keys `task`, `dataset_path`, `doc_to_text`, … of lm-eval"
        raise UserError("not a task", where=path, wanted=wanted)
    files = _data_files(config, path) if config.get("dataset_path") == "json" else {}
    for file in files.values():
        if not file.is_file():
            raise UserError("a file of this task's data is missing", where=path, found=str(file))
    return LocalTask(config["task"], path, config.get("output_type") == "generate_until", files)


def _data_files(config: dict[str, Any], path: Path) -> dict[str, Path]:
    """Split -> file."""
    given = (config.get("dataset_kwargs") or {}).get("data_files")
    by_split = {"train": given} if isinstance(given, str) else given
    if not isinstance(by_split, dict) or not all(isinstance(file, str) for file in by_split.values()):
        wanted = "dataset_kwargs: {data_files: {SPLIT: FILE.jsonl}}"
        raise UserError("a task of JSON lines without its files", where=path, found=given, wanted=wanted)
    return {split: path.parent / file for split, file in by_split.items()}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines. Raises UserError that names the line of one that is none."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UserError(f"not JSON: {error}", where=f"{path}:{number}") from None
        if not isinstance(row, dict):
            raise UserError("not an object", where=f"{path}:{number}", found=type(row).__name__)
        rows.append(row)
    if not rows:
        raise UserError("no item", where=path)
    return rows
