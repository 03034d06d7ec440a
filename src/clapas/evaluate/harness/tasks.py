"""Which tasks are asked for, opened where their data are at hand; each of the others with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clapas.evaluate.harness.french import ALIASES, FRENCH
from clapas.evaluate.harness.library import network, silent
from clapas.evaluate.harness.local_tasks import LocalTask, find_local, is_local, read_rows
from clapas.recipe.errors import UserError

if TYPE_CHECKING:
    from lm_eval.api.task import Task

NOT_AT_HAND = "data not at hand"


@dataclass(slots=True)
class OpenTasks:
    """tasks: by name, with their data. groups: the harness's groups among them. not_run: name -> why not.

    local: the files of those of ours and the user's. download: whether what is not at hand may be fetched.
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    local: dict[str, LocalTask] = field(default_factory=dict)
    download: bool = False


def open_tasks(words: Iterable[str], *, download: bool = False) -> OpenTasks:
    """The tasks of these words: names of `lm-eval` and of ours, short names, YAML files. `import_library` comes first.

    download: fetch the data that are not at hand; otherwise nothing is asked of any network. Raises UserError for a
    name that nobody knows, or a local task that is not sound; missing data are `not_run`.
    """
    found = OpenTasks(download=download)
    with network(download):
        for word in dict.fromkeys(name for given in words for name in ALIASES.get(given, (given,))):
            if is_local(word):
                for task in find_local(word):
                    _add_local(found, task)
            else:
                for name, build in _of_harness(word):
                    _add(found, name, build)
    return found


def _add(found: OpenTasks, name: str, build: Callable[[], Any]) -> None:
    """Open one, or say why it cannot be."""
    try:
        with silent():
            loaded = build()
    except (ConnectionError, FileNotFoundError) as error:
        found.not_run[name] = f"{NOT_AT_HAND} ({_first_line(error)})"
    except UserError:
        raise
    except Exception as error:  # a data set's own code, an old format: whatever it is, the others run
        at_hand = "offline" not in str(error).lower() and "couldn't reach" not in str(error).lower()
        found.not_run[name] = _first_line(error) if at_hand else f"{NOT_AT_HAND} ({_first_line(error)})"
    else:
        found.tasks |= loaded["tasks"]
        found.groups |= loaded.get("groups", {})


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


def _of_harness(word: str) -> list[tuple[str, Callable[[], Any]]]:
    """The tasks that a name of the harness's stands for: a tag's each on its own, so that one may lack its data."""
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    root = Path(lm_eval.tasks.__file__).parent
    folder = FRENCH.get(word, "french_bench" if word.startswith("french_bench") else None)
    if folder:
        manager = TaskManager(include_path=str(root / folder), include_defaults=False)
    else:  # reading all 14,000 files takes eight seconds: not for a name that none of them has
        manager = TaskManager() if _is_named(root, word) else None
    if manager is None or word not in manager.task_index:
        raise UserError(
            "no such task",
            where=word,
            wanted="a name of lm-eval's, one of ours, or a YAML file",
            way_out="`clapas eval --list-tasks`: the French ones and ours; `lm-eval ls tasks`: all of the harness's",
        )
    entry = manager.task_index[word]
    names = sorted(entry.tags) if entry.kind.name == "TAG" else [word]
    return [(name, partial(manager.load, [name])) for name in names]


def _is_named(root: Path, word: str) -> bool:
    """Whether any file of the harness's has a word in it."""
    return any(word.encode() in path.read_bytes() for path in root.rglob("*.yaml"))


def _add_local(found: OpenTasks, task: LocalTask) -> None:
    if task.name in found.local and found.local[task.name].path.resolve() != task.path.resolve():
        raise UserError(f"two tasks are called {task.name!r}", where=task.path, found=str(found.local[task.name].path))
    if task.data_files:
        try:
            found.tasks[task.name] = _open_local(task)
        except UserError:
            raise
        except Exception as error:
            raise UserError("lm-eval cannot open this task", where=task.path, found=_first_line(error)) from None
    else:
        _add(found, task.name, lambda: {"tasks": {task.name: _open_local(task)}})
    found.local[task.name] = task


def _open_local(task: LocalTask) -> Task:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(task.path, resolve_func=True, recursive=True)
    for structural in ("tag", "group", "task_list"):
        config.pop(structural, None)
    if task.data_files:
        config.pop("dataset_path")
        config["dataset_kwargs"] = {}
        config["custom_dataset"] = partial(_read_splits, task)
    with silent():
        return ConfigurableTask(config=config)


def _read_splits(task: LocalTask, **_: Any) -> dict[str, Any]:
    from datasets import Dataset

    return {split: Dataset.from_list(read_rows(path)) for split, path in task.data_files.items()}
