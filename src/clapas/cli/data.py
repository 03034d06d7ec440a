"""`clapas data`: token shards and examples, built, looked into, mixed, and documents taken out again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clapas.cli.verbs import add_verb, json_option, refuse_alone, show


def add_verbs(verbs: Any) -> None:
    """`clapas data …`."""
    data = add_verb(
        verbs,
        "data",
        "build token shards, look into them, mix them, take out of them",
        "clapas data build demo --out data/demo",
    )
    parts = data.add_subparsers(metavar="VERB", required=True)
    _add_building(parts)
    _add_looking(parts)


def _add_building(parts: Any) -> None:
    verb = add_verb(parts, "build", "turn a corpus into token shards", "clapas data build demo --out data/demo", _build)
    verb.add_argument("corpus", help="a corpus file, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the corpus file")
    verb.add_argument("--out", type=Path, required=True, help="the folder of the shards")
    verb.add_argument("--tokenizer", type=Path, help="a tokenizer's folder (default: OUT/tokenizer)")
    verb.add_argument("--workers", type=int, help="processes (default: one a core)")
    _slurm_options(verb)
    _chat_options(parts)
    example = "clapas data status data/demo"
    verb = add_verb(parts, "status", "show how far a build is, and what failed", example, _status)
    verb.add_argument("folder", type=Path)
    json_option(verb)
    example = "clapas data perplexity mine.yaml --source wikipedia --out wikipedia.ngrams"
    verb = add_verb(parts, "perplexity", "train the n-gram model that the step reads", example, _perplexity)
    verb.add_argument("corpus", help="a corpus file, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the corpus file")
    verb.add_argument("--source", required=True, metavar="NAME", help="the corpus's source that is the reference")
    verb.add_argument("--out", type=Path, required=True, help="the model's file")
    does = "the source whose documents say what is head, middle and tail (default: a tenth of the reference)"
    verb.add_argument("--calibrate", metavar="NAME", help=does)
    verb.add_argument("--order", type=int, default=3, help="words of the longest n-grams, 2 to 5 (3)")
    verb.add_argument("--workers", type=int, help="processes (default: one a core)")


def _add_looking(parts: Any) -> None:
    verb = add_verb(parts, "inspect", "show what is in a folder of shards", "clapas data inspect data/demo", _inspect)
    verb.add_argument("folder", type=Path)
    does = "show what the steps dropped, with samples: of all steps, of a step, or for one of its reasons"
    verb.add_argument("--rejected", nargs="?", const="", metavar="STEP[.REASON]", help=does)
    verb.add_argument("--source", help="what was dropped of this source alone")
    json_option(verb)
    verb = add_verb(parts, "verify", "check every byte against the manifest", "clapas data verify data/demo", _verify)
    verb.add_argument("folder", type=Path)
    example = "clapas data mix pretrain/french-1b data.max_epochs=4"
    verb = add_verb(parts, "mix", "show what a recipe reads of each source, or what a folder holds", example, _mix)
    verb.add_argument("recipe", help="a recipe, the name of a shipped one, or a folder of shards")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe")
    does = "draw it too: in the terminal, or into a file (.svg, .png, .pdf)"
    verb.add_argument("--plot", nargs="?", type=Path, const=Path("-"), metavar="FILE", help=does)
    json_option(verb)
    example = "clapas data trace legi:LEGIARTI000018764571 --data data/demo"
    verb = add_verb(parts, "trace", "show where a document comes from and what was done to it", example, _trace)
    verb.add_argument("document", metavar="DOC", help="an id, source:id, URL, text hash or shard#document")
    verb.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the folder of the shards")
    verb.add_argument("--full", action="store_true", help="show all of the text")
    json_option(verb)
    example = "clapas data remove data/demo --ids requests.csv --reason 'right to erasure' --runs runs"
    verb = add_verb(parts, "remove", "leave documents out from now on; tell which steps read them", example, _remove)
    verb.add_argument("folder", type=Path)
    does = "a document a line (as for `trace`); .jsonl and .csv with a key id, url, hash or document"
    verb.add_argument("--ids", type=Path, required=True, metavar="FILE", help=does)
    verb.add_argument("--reason", metavar="TEXT", help="kept in the manifest")
    verb.add_argument("--runs", type=Path, nargs="+", metavar="DIR", help="runs, or folders of runs (default: runs)")
    verb.add_argument("--ignore-missing", action="store_true", help="pass over names of no document")
    json_option(verb)


def _chat_options(parts: Any) -> None:
    example = "clapas data chat dialogues.jsonl --out data/dialogues --tokenizer data/demo/tokenizer --licence CC0-1.0"
    does = "turn conversations, preferences or prompts into a folder of examples"
    verb = add_verb(parts, "chat", does, example, _chat)
    verb.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="JSONL (.gz, .zst …), a JSON array or Parquet"
    )
    verb.add_argument("--out", type=Path, required=True, help="the folder of examples")
    verb.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer's folder, with its chat template")
    kinds = ("conversations", "pairs", "labelled", "prompts")
    verb.add_argument("--kind", choices=kinds, help="what the rows are (default: as the first row's fields say)")
    verb.add_argument("--template", metavar="FILE|NAME", help="another chat template: a file, `clapas` or `chatml`")
    does = "a share below 1, or how many examples, by their hash (none)"
    verb.add_argument("--held-out", type=_held_out, default=0, metavar="N|SHARE", help=does)
    verb.add_argument("--name", help="of the data, in the manifest (default: the folder's)")
    verb.add_argument("--source", metavar="NAME", help="one source for all files (default: each file is one)")
    does = "of all sources, or SOURCE=SPDX of one; may be given again (default: unknown, which no release takes)"
    verb.add_argument("--licence", action="append", default=[], metavar="SPDX", help=does)
    verb.add_argument("--skip-bad", action="store_true", help="leave bad rows out, and count them by reason")
    verb.add_argument("--workers", type=int, help="processes (default: one a core)")
    json_option(verb)


def _held_out(text: str) -> float:
    value = float(text)
    if not (0 <= value < 1 or value.is_integer()):
        raise argparse.ArgumentTypeError(f"{text}: neither a share below 1 nor a number of examples")
    return value


def _slurm_options(verb: Any) -> None:
    verb.add_argument("--slurm", metavar="SITE", help="as job arrays on a site: its file, or the name of a shipped one")
    verb.add_argument("--tasks", type=int, metavar="N", help="with --slurm: elements of an array (100)")
    does = "with --slurm: a kind of node, as the site's file calls it (default: its own for data)"
    verb.add_argument("--partition", metavar="KIND", help=does)
    verb.add_argument("--account", help="with --slurm: who is charged (default: $SBATCH_ACCOUNT)")
    verb.add_argument("--qos", help="with --slurm: default: the first of the site's that takes the jobs")
    verb.add_argument("--time", metavar="HH:MM:SS", help="with --slurm: wall time of an element (default: the QoS's)")
    does = "with --slurm: use facts of the site that nobody has read at its own pages"
    verb.add_argument("--accept-unverified", action="store_true", help=does)
    verb.add_argument(
        "--dry-run", action="store_true", help="with --slurm: print the batch scripts, and submit nothing"
    )


def _build(options: argparse.Namespace) -> None:
    if options.slurm is not None:
        from clapas.launch.data_command import slurm_build

        slurm_build(options)
        return
    of_slurm = ("dry_run", "tasks", "partition", "account", "qos", "time", "accept_unverified")
    refuse_alone(options, "--slurm SITE", of_slurm)
    from clapas_data.build import build

    facts = {name: getattr(options, name) for name in ("tokenizer", "workers", "overrides")}
    build(options.corpus, options.out, **facts)


def _chat(options: argparse.Namespace) -> None:
    from clapas_data.chat.build import chat
    from clapas_data.chat.summary import summary_table

    names = ("tokenizer", "kind", "template", "held_out", "name", "source", "skip_bad", "workers")
    chosen = {name: getattr(options, name) for name in names}
    summary = chat(options.files, options.out, licences=options.licence, **chosen)
    show(summary.values(), options.json, summary_table)


def _perplexity(options: argparse.Namespace) -> None:
    from clapas_data.perplexity import summary, train_perplexity

    names = ("source", "out", "calibrate", "order", "workers", "overrides")
    print(summary(train_perplexity(options.corpus, **{name: getattr(options, name) for name in names}), options.out))


def _status(options: argparse.Namespace) -> None:
    from clapas.launch.data_status import data_status, data_status_table

    show(data_status(options.folder), options.json, data_status_table)


def _inspect(options: argparse.Namespace) -> None:
    from clapas_data.inspect import inspect, inspect_table
    from clapas_data.rejected import rejected, rejected_table

    if options.rejected is not None:
        show(rejected(options.folder, options.rejected, options.source), options.json, rejected_table)
        return
    refuse_alone(options, "--rejected", ("source",))
    show(inspect(options.folder), options.json, inspect_table)


def _verify(options: argparse.Namespace) -> None:
    from clapas_data.verify import verify

    result = verify(options.folder)
    result.raise_for_damage()
    print(result)


def _mix(options: argparse.Namespace) -> None:
    from clapas.report.mix import mix_command

    print(mix_command(options.recipe, options.overrides, as_json=options.json, plot=options.plot))


def _trace(options: argparse.Namespace) -> None:
    from clapas_data.trace import trace, trace_table

    show(trace(options.data, options.document, full=options.full), options.json, trace_table)


def _remove(options: argparse.Namespace) -> None:
    from clapas.loader.removal import removal_table, remove_documents

    chosen = {"reason": options.reason, "runs": options.runs, "ignore_missing": options.ignore_missing}
    show(remove_documents(options.folder, options.ids, **chosen), options.json, removal_table)
