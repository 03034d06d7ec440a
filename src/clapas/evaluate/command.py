"""`clapas eval`: its options, and which measurement they ask for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from clapas.evaluate.probes.names import ALL, PROBES
from clapas.recipe.errors import UserError

EXAMPLES = """examples:
  clapas eval runs/demo --by source
  clapas eval runs/demo --tasks french,local --nproc 2 --record
  clapas eval runs/demo --probe all --record
  clapas eval runs/demo --contamination --record
  clapas eval model --tasks path/to/task.yaml --chat --num-fewshot 2"""
OF_TASKS = ("num_fewshot", "limit", "download", "system")
OF_TEXT = ("by", "compare_xz")


def eval_options(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.formatter_class = argparse.RawDescriptionHelpFormatter
    verb.epilog = EXAMPLES
    verb.add_argument("model", type=Path, nargs="?", help="a run, a checkpoint or a Hugging Face folder")
    verb.add_argument("--data", type=Path, metavar="FOLDER", help="the folder of the shards (default: the run's own)")
    verb.add_argument("--split", default="heldout")
    verb.add_argument("--by", choices=("source", "domain"), help="bits per byte in parts that add up to the whole")
    verb.add_argument("--compare-xz", action="store_true", help="also what xz -9e makes of the same text")
    does = "instead: tasks, separated by commas: french, local, names of lm-eval's, YAML files"
    verb.add_argument("--tasks", metavar="NAMES", help=does)
    verb.add_argument("--list-tasks", action="store_true", help="show the French tasks and ours; no model is needed")
    does = f"instead: probes, separated by commas: {', '.join((*PROBES, ALL))}"
    verb.add_argument("--probe", metavar="NAMES", help=does)
    does = "instead: which items of the tasks recorded stand in the training text"
    verb.add_argument("--contamination", action="store_true", help=does)
    verb.add_argument("--num-fewshot", type=int, metavar="N", help="with --tasks: examples before each question")
    verb.add_argument("--limit", type=int, metavar="N", help="with --tasks: only the first N items of each")
    verb.add_argument("--download", action="store_true", help="with --tasks: fetch data that are not at hand")
    verb.add_argument("--chat", action="store_true", help="ask through the model's chat template")
    verb.add_argument("--system", metavar="TEXT", help="with --tasks --chat: the system's message")
    verb.add_argument("--seed", type=int, default=0, help="of few-shot examples and all that is drawn (0)")
    does = "keep figures and every answer in RUN/evaluations and the run's ledger"
    verb.add_argument("--record", action="store_true", help=does)
    verb.add_argument("--nproc", type=int, default=1, metavar="N", help="ranks on this machine that share the work")
    verb.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="what the model computes in (fp32)")
    verb.add_argument("--tokenizer", type=Path, help="a tokenizer's folder (default: the model's own)")


def check_options(options: argparse.Namespace) -> None:
    """Raise UserError for options that do not go together, before anything is loaded."""
    if options.list_tasks:
        return
    for option in ("tasks", "probe"):
        if (given := getattr(options, option)) is not None and not _names(given):
            raise UserError(f"--{option} names nothing", where=f"--{option}", found=given, wanted="names, by commas")
    if options.model is None:
        raise UserError("no model", wanted="a run, a checkpoint or a Hugging Face folder", way_out="clapas eval --help")
    asked = [f"--{name}" for name in ("tasks", "probe", "contamination") if getattr(options, name)]
    if len(asked) > 1:
        raise UserError(f"{' and '.join(asked)} are more than one measurement", way_out="one after the other")
    for names, needed, is_there in (
        (OF_TASKS, "--tasks", options.tasks is not None),
        (("chat",), "--tasks or --probe", options.tasks is not None or options.probe is not None),
    ):
        for name in names:
            if getattr(options, name) not in (None, False) and not is_there:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} needs {needed}", where=option, way_out=f"leave {option} out")
    for name in OF_TEXT:
        if getattr(options, name) not in (None, False) and asked:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} is of bits per byte", where=option, way_out=f"leave {asked[0]} out")
    if options.system and not options.chat:
        raise UserError("--system needs --chat", where="--system", way_out="add --chat")
    for name, least in (("nproc", 1), ("limit", 1), ("num_fewshot", 0), ("seed", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name.replace('_', '-')} has no such value", found=value, wanted=f"{least} or more")
    if options.tasks:
        from clapas.evaluate.harness.library import require_library

        require_library()
    if options.probe:
        from clapas.evaluate.probes.probes import chosen_probes

        chosen_probes(_names(options.probe))


def words_of_ranks(arguments: list[str]) -> list[str]:
    """The command that each of several ranks runs: the same without `--nproc`."""
    words = [word for word in arguments if not word.startswith("--nproc=")]
    if "--nproc" in words:
        place = words.index("--nproc")
        del words[place : place + 2]
    return words


def tasks_known() -> dict[str, Any]:
    """What `--list-tasks` shows: the short names, the French tasks of lm-eval, and ours."""
    from clapas.evaluate.harness.french import ALIASES, FRENCH
    from clapas.evaluate.harness.local_tasks import shipped_tasks

    ours = [{"name": task.name, "file": str(task.path), "generates": task.generates} for task in shipped_tasks()]
    return {"french": list(FRENCH), "local": ours, "aliases": {name: list(names) for name, names in ALIASES.items()}}


def tasks_known_table(known: dict[str, Any]) -> str:
    """The same, for reading."""
    aliases = [f"  {name}: {', '.join(names)}" for name, names in known["aliases"].items() if name != "french"]
    ours = [f"  {task['name']}: {'generation' if task['generates'] else 'multiple choice'}" for task in known["local"]]
    return "\n".join(
        [
            "local: ours, small, with their data:",
            *ours,
            "french: of lm-eval (pip install 'clapas[eval]'), each where its data are at hand:",
            *(f"  {name}" for name in known["french"]),
            "short names:",
            *aliases,
            "and any other task of lm-eval's by its name, any task.yaml, any folder of such",
        ]
    )


def measure(options: argparse.Namespace, *, of_several: bool) -> tuple[dict[str, Any], str] | None:
    """Measure, alone or as one rank of several. Returns what was measured and its table; None on other ranks than 0."""
    from clapas.engine.ranks import alone, start_ranks, stop_ranks
    from clapas.evaluate.load import DTYPES, load
    from clapas.evaluate.record import run_of
    from clapas.model.cpu import prepare_cpu

    prepare_cpu()
    ranks = start_ranks() if of_several else alone()
    try:
        with ranks.said_once():
            chosen = {"tokenizer": options.tokenizer, "weights": options.weights, "dtype": DTYPES[options.dtype]}
            loaded = load(options.model, device=ranks.device, **chosen)
            if options.record:
                run_of(loaded.source)
            kind, measured, figures, table = _MEASUREMENTS[_kind(options)](options, loaded, ranks)
        if ranks.rank:
            return None
        measured = {"model": str(loaded.source), "dtype": options.dtype, **measured}
        if options.record:
            from clapas.evaluate.record import record

            path = record(loaded.source, kind, measured, figures)
            print(f"kept: {path}", file=sys.stderr)
        return {name: value for name, value in measured.items() if name != "items"}, table
    finally:
        ranks.all(True)  # srun ends the others once one has left: not before the first has written all
        stop_ranks()


def _kind(options: argparse.Namespace) -> str:
    chosen = {"tasks": options.tasks, "probes": options.probe, "contamination": options.contamination}
    return next((kind for kind, is_asked in chosen.items() if is_asked), "text")


def _names(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def _text(options: argparse.Namespace, loaded: Any, ranks: Any) -> tuple[str, dict[str, Any], dict[str, Any], str]:
    from clapas.evaluate.evaluate import compare_with_xz, evaluate, evaluation_table

    measured = evaluate(loaded, data=options.data, split=options.split, by=options.by, ranks=ranks)
    if options.compare_xz and ranks.rank == 0:
        measured["xz"] = compare_with_xz(measured)
    told = ("split", "loss", "bits_per_byte", "token_accuracy", "tokens", "bytes")
    figures = {name: measured[name] for name in told if name in measured}
    return "text", measured, figures, evaluation_table(measured)


def _tasks(options: argparse.Namespace, loaded: Any, ranks: Any) -> tuple[str, dict[str, Any], dict[str, Any], str]:
    from clapas.evaluate.harness.library import import_library

    import_library()
    from clapas.evaluate.harness.model import harness_model
    from clapas.evaluate.harness.run import run_tasks, tasks_table
    from clapas.evaluate.harness.tasks import open_tasks

    model = harness_model(loaded, ranks, seed=options.seed, chat=options.chat)
    chosen = {name: getattr(options, name) for name in ("seed", "num_fewshot", "limit", "chat", "system")}
    measured = run_tasks(model, open_tasks(_names(options.tasks), download=options.download), **chosen)
    figures = {
        "tasks": {name: {**task["metrics"], "version": task["version"]} for name, task in measured["tasks"].items()},
        **{name: measured[name] for name in ("harness", "seeds", "limit", "chat")},
    }
    return "tasks", measured, figures, tasks_table(measured)


def _probes(options: argparse.Namespace, loaded: Any, ranks: Any) -> tuple[str, dict[str, Any], dict[str, Any], str]:
    from clapas.evaluate.probes.probe import Asked
    from clapas.evaluate.probes.probes import probes_table, run_probes

    asked = Asked(loaded, ranks, options.seed, options.chat)
    measured = run_probes(_names(options.probe), asked, options.data)
    figures = {
        "probes": {name: {**own["figures"], "version": own["version"]} for name, own in measured["probes"].items()},
        "seeds": measured["seeds"],
        "chat": options.chat,
    }
    return "probes", measured, figures, probes_table(measured)


def _contamination(
    options: argparse.Namespace, loaded: Any, ranks: Any
) -> tuple[str, dict[str, Any], dict[str, Any], str]:
    from clapas.evaluate.contamination import contamination_table, measure_contamination

    measured = measure_contamination(loaded, options.data, ranks=ranks)
    figures = {name: measured[name] for name in ("tasks", "method", "manifests")}
    return "contamination", measured, figures, contamination_table(measured)


_MEASUREMENTS = {"text": _text, "tasks": _tasks, "probes": _probes, "contamination": _contamination}
