"""The command line: one verb a line, no logic. Imports a layer only when its verb is asked for."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clapas import __version__
from clapas.recipe.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, ClapasError, UserError
from clapas.recipe.shipped import names_a_file


def main(arguments: list[str] | None = None) -> None:
    """Run a verb and exit with its code (see `clapas.recipe.errors`)."""
    code = run(sys.argv[1:] if arguments is None else arguments)
    if "deepspeed" in sys.modules:
        # all is written and closed; what is left is C++ threads of gloo, whose end at exit once in dozens of runs
        # ends in "terminate called without an active exception" and turns a finished run into exit code 134
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


def run(arguments: list[str]) -> int:
    """Run a verb and return its exit code. A mistake of the user's is one message on stderr, never a traceback."""
    options = _parse(arguments)
    if not hasattr(options, "verb"):
        options.parser.print_help()
        return EXIT_DONE
    try:
        return options.verb(options) or EXIT_DONE
    except ClapasError as error:
        return error.exit_code if error.told_by_another else _fail(str(error), error.exit_code)
    except KeyboardInterrupt:  # it reaches all ranks
        return _fail("interrupted", EXIT_INTERRUPTED) if os.environ.get("RANK", "0") == "0" else EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: `clapas ... | head`
        sys.stderr.close()
        return EXIT_FAILED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG):
            raise
        return _fail(f"{error.filename or 'writing'}: {error.strerror}; nothing was left half written", EXIT_FAILED)


def _fail(message: str, code: int) -> int:
    rank = os.environ.get("RANK", "0")
    print(f"clapas{f' (rank {rank})' if rank != '0' else ''}: {message}", file=sys.stderr)
    return code


def _print(value: Any, as_json: bool, table: Callable[[Any], str]) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2) if as_json else table(value))


def _recipes(options: argparse.Namespace) -> None:
    from clapas.recipe.listing import list_recipes, recipe_table

    _print(list_recipes(), options.json, recipe_table)


def _data_build(options: argparse.Namespace) -> None:
    if options.slurm is not None:
        from clapas.launch.data_command import slurm_build

        slurm_build(options)
        return
    of_slurm = ("dry_run", "tasks", "partition", "account", "qos", "time", "accept_unverified")
    _refuse_alone(options, "--slurm SITE", of_slurm)
    from clapas_data.build import build

    facts = {name: getattr(options, name) for name in ("tokenizer", "workers", "overrides")}
    build(options.corpus, options.out, **facts)


def _data_chat(options: argparse.Namespace) -> None:
    from clapas_data.chat.build import chat
    from clapas_data.chat.summary import summary_table

    names = ("tokenizer", "kind", "template", "held_out", "name", "source", "skip_bad", "workers")
    chosen = {name: getattr(options, name) for name in names}
    summary = chat(options.files, options.out, licences=options.licence, **chosen)
    _print(summary.values(), options.json, summary_table)


def _data_inspect(options: argparse.Namespace) -> None:
    from clapas_data.inspect import inspect, inspect_table
    from clapas_data.rejected import rejected, rejected_table

    if options.rejected is not None:
        _print(rejected(options.folder, options.rejected, options.source), options.json, rejected_table)
        return
    _refuse_alone(options, "--rejected", ("source",))
    _print(inspect(options.folder), options.json, inspect_table)


def _refuse_alone(options: argparse.Namespace, needed: str, names: tuple[str, ...]) -> None:
    """Raise UserError for an option that means something beside another alone, which is not given."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value is not False:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} needs {needed}", where=option, way_out=f"add {needed}, or leave {option} out")


def _data_status(options: argparse.Namespace) -> None:
    from clapas.launch.data_status import data_status, data_status_table

    _print(data_status(options.folder), options.json, data_status_table)


def _data_verify(options: argparse.Namespace) -> None:
    from clapas_data.verify import verify

    result = verify(options.folder)
    result.raise_for_damage()
    print(result)


def _data_perplexity(options: argparse.Namespace) -> None:
    from clapas_data.perplexity import summary, train_perplexity

    names = ("source", "out", "calibrate", "order", "workers", "overrides")
    print(summary(train_perplexity(options.corpus, **{name: getattr(options, name) for name in names}), options.out))


def _data_mix(options: argparse.Namespace) -> None:
    from clapas.report.mix import mix_command

    print(mix_command(options.recipe, options.overrides, as_json=options.json, plot=options.plot))


def _data_trace(options: argparse.Namespace) -> None:
    from clapas_data.trace import trace, trace_table

    _print(trace(options.data, options.document, full=options.full), options.json, trace_table)


def _data_remove(options: argparse.Namespace) -> None:
    from clapas.loader.removal import removal_table, remove_documents

    chosen = {"reason": options.reason, "runs": options.runs, "ignore_missing": options.ignore_missing}
    _print(remove_documents(options.folder, options.ids, **chosen), options.json, removal_table)


def _tokenizer_train(options: argparse.Namespace) -> None:
    from clapas_data.tokenizer.train import train

    chosen = {"split": options.split, "parity": options.parity}
    train(options.corpus, vocab_size=options.vocab_size, out=options.out, overrides=options.overrides, **chosen)


def _tokenizer_extend(options: argparse.Namespace) -> None:
    from clapas_data.tokenizer.extend import extend

    extend(options.base, options.corpus, options.add, options.out, options.overrides)


def _tokenizer_compare(options: argparse.Namespace) -> None:
    from clapas_data.tokenizer.compare import compare
    from clapas_data.tokenizer.show import comparison_table

    _print(compare(options.tokenizers, options.corpus, options.text), options.json, comparison_table)


def _tokenizer_inspect(options: argparse.Namespace) -> None:
    from clapas_data.tokenizer.inspect import inspect
    from clapas_data.tokenizer.show import inspection_table

    _print(inspect(options.tokenizer, options.corpus, options.model), options.json, inspection_table)


def _train(options: argparse.Namespace) -> int:
    from clapas.recipe.recipe import read_recipe
    from clapas.train.local_ranks import run_ranks, under_launcher
    from clapas.train.preflight import preflight

    recipe = read_recipe(options.recipe, options.overrides)
    if not under_launcher():
        preflight(recipe, options.nproc)  # before torch is imported: a mistake is told at once
        if options.nproc > 1:
            command = ["train", str(options.recipe), *options.overrides, *["--strict"] * options.strict]
            return run_ranks(command, options.nproc, recipe.train.threads)
    from clapas.train.train import train

    return train(recipe, strict=options.strict)


def _distil(options: argparse.Namespace) -> int:
    from clapas.recipe.recipe import read_recipe
    from clapas.train.local_ranks import run_ranks, under_launcher

    recipe = read_recipe(options.recipe, options.overrides)
    if options.nproc > 1 and not under_launcher():
        command = ["distil", str(options.recipe), *options.overrides, "--out", str(options.out)]
        return run_ranks(command, options.nproc, recipe.train.threads)
    from clapas.tune.distil import distil

    distil(recipe, options.out)
    return EXIT_DONE


def _plan(options: argparse.Namespace) -> None:
    from clapas.plan.plan import plan
    from clapas.plan.show import plan_table
    from clapas.recipe.recipe import read_recipe

    recipe = read_recipe(options.recipe, options.overrides)
    chosen = {"partition": options.partition, "calibrate": options.calibrate}
    _print(plan(recipe, options.site, options.nodes, **chosen), options.json, plan_table)


def _audit(options: argparse.Namespace) -> None:
    from clapas.loader.audit import audit, audit_table

    _print(audit(options.run, options.step), options.json, audit_table)


def _checkpoint_list(options: argparse.Namespace) -> None:
    from clapas.checkpoint.inspect import checkpoints_table, list_checkpoints

    _print(list_checkpoints(options.run), options.json, checkpoints_table)


def _checkpoint_verify(options: argparse.Namespace) -> None:
    from clapas.checkpoint.inspect import checkpoints_table, raise_for_damage, verify_checkpoints

    rows = verify_checkpoints(options.source)
    _print(rows, options.json, checkpoints_table)
    raise_for_damage(rows)


def _checkpoint_diff(options: argparse.Namespace) -> None:
    from clapas.checkpoint.inspect import diff_checkpoints, diff_text

    _print(diff_checkpoints(options.first, options.second), options.json, diff_text)


def _checkpoint_soup(options: argparse.Namespace) -> None:
    from clapas.checkpoint.soup import soup

    print(soup(options.checkpoints, options.out, weights=options.weights))


def _import(options: argparse.Namespace) -> None:
    from clapas.release.import_model import import_model

    print(import_model(options.folder, options.out))


def _export(options: argparse.Namespace) -> None:
    if options.adapter:
        from clapas.release.adapter import export_adapter

        for name in ("dtype", "shard_size", "keep_padding"):
            if getattr(options, name):
                option = f"--{name.replace('_', '-')}"
                way_out = f"leave {option} out, or --adapter"
                raise UserError(f"{option} is of a whole model: an adapter is in fp32", where=option, way_out=way_out)
        print(export_adapter(options.source, options.out, weights=options.weights))
        return
    from clapas.release.export import export, shard_bytes_of
    from clapas.release.gguf.quantisations import read_names

    chosen = {"dtype": options.dtype or "bf16", "weights": options.weights, "keep_padding": options.keep_padding}
    chosen["gguf"] = () if options.gguf is None else read_names(options.gguf)
    print(export(options.source, options.out, shard_bytes=shard_bytes_of(options.shard_size or "5GB"), **chosen))


def _eval(options: argparse.Namespace) -> int | None:
    from clapas.evaluate import command
    from clapas.train.local_ranks import run_ranks, under_launcher

    command.check_options(options)
    if options.list_tasks:
        _print(command.tasks_known(), options.json, command.tasks_known_table)
        return None
    of_several = under_launcher()
    if options.nproc > 1 and not of_several:
        return run_ranks(command.words_of_ranks(options.arguments), options.nproc, None)
    if (measured := command.measure(options, of_several=of_several)) is not None:
        _print(measured[0], options.json, lambda _: measured[1])
    return None


def _generate(options: argparse.Namespace) -> None:
    from clapas.evaluate.generate_command import generate_command

    generate_command(options)


def _chat(options: argparse.Namespace) -> None:
    from clapas.evaluate.chat_command import chat_command

    chat_command(options)


def _report(options: argparse.Namespace) -> None:
    from clapas.report.page import report
    from clapas.report.terminal import loss_plot

    print(f"report: {report(options.run, options.out)}")
    if options.plot:
        print(loss_plot(options.run))


def _release(options: argparse.Namespace) -> None:
    from clapas.release.command import release_command

    release_command(options)


def _verify(options: argparse.Namespace) -> None:
    from clapas.release.verify import verify, whose

    by = whose(options.public_key, options.identity, options.identity_provider)
    found = verify(options.folder, by, quick=options.quick)
    print(found.to_json() if options.json else found)
    found.raise_for_problems()


def _keygen(options: argparse.Namespace) -> None:
    from clapas.release.keys import generate_key

    print(f"{options.out}: key.pem (keep it secret), key.pub.pem; SHA-256 {generate_key(options.out)}")


def _publish(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from clapas.release.publish import command

    chosen = {"endpoint": options.endpoint, "dry_run": options.dry_run}
    if options.mirror is not None:
        _refuse_alone(options, "--repo OWNER/NAME", ("private", "quick"))
        said = command.publish_to_mirror(options.folder, options.mirror, **chosen)
    else:
        chosen |= {"private": options.private, "quick": options.quick}
        said = command.publish_to_hub(options.folder, options.repo, **chosen)
    _print(asdict(said), options.json, lambda _: said.table())


def _launch(options: argparse.Namespace) -> int:
    from clapas.launch.command import launch_command

    return launch_command(options)


def _status(options: argparse.Namespace) -> None:
    from clapas.launch.status import status, status_table

    _print(status(options.run), options.json, status_table)


def _cancel(options: argparse.Namespace) -> None:
    from clapas.launch.status import cancel

    print("\n".join(cancel(options.run, now=options.now)))


def _logs(options: argparse.Namespace) -> None:
    from clapas.launch.status import print_logs

    print_logs(options.run, follow=options.follow)


def _doctor(options: argparse.Namespace) -> int:
    from clapas.launch.doctor.doctor import doctor
    from clapas.launch.doctor.finding import case_of, exit_code, findings_json, findings_table

    named = {name: getattr(options, name) for name in ("site", "partition", "nodes", "hours")}
    findings = doctor(case_of(options.recipe, options.overrides, **named), probe=options.probe)
    _print(findings_json(findings), options.json, findings_table)
    return exit_code(findings)


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Options may stand between the overrides: argparse alone does not allow that below a sub-command."""
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    options.arguments = arguments
    if rest:
        if not hasattr(options, "overrides") or not all(map(_is_override, rest)):
            options.parser.error(f"not understood: {' '.join(rest)}")
        options.overrides += rest
    return options


def _is_override(word: str) -> bool:
    return not word.startswith("-") and ("=" in word or names_a_file(word))


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="clapas",
        description="Train open French foundation models: from raw text to a model that stock tools load.",
        epilog="example: clapas train demo --nproc 2 optimizer.lr=3e-3",
    )
    parser.add_argument("--version", action="version", version=f"clapas {__version__}")
    parser.set_defaults(parser=parser)
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")
    _data_verbs(verbs)
    _tokenizer_verbs(verbs)
    _run_verbs(verbs)
    _launch_verbs(verbs)
    _checkpoint_verbs(verbs)
    _model_verbs(verbs)
    _release_verbs(verbs)
    return parser


def _verb(verbs: Any, name: str, does: str, example: str, function: Callable[..., Any] | None = None) -> Any:
    parser = verbs.add_parser(
        name, help=does, description=does[0].upper() + does[1:] + ".", epilog=f"example: {example}"
    )
    parser.set_defaults(parser=parser)
    if function is not None:
        parser.set_defaults(verb=function)
    return parser


def _json(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _weights(parser: Any) -> None:
    does = "of a checkpoint: as they train, or averaged (default: averaged where an average was kept)"
    parser.add_argument("--weights", choices=("raw", "average"), help=does)


def _chat_options(parts: Any) -> None:
    example = "clapas data chat dialogues.jsonl --out data/dialogues --tokenizer data/demo/tokenizer --licence CC0-1.0"
    does = "turn conversations, preferences or prompts into a folder of examples"
    verb = _verb(parts, "chat", does, example, _data_chat)
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
    _json(verb)


def _held_out(text: str) -> float:
    value = float(text)
    if not (0 <= value < 1 or value.is_integer()):
        raise argparse.ArgumentTypeError(f"{text}: neither a share below 1 nor a number of examples")
    return value


def _sampling(parser: Any) -> None:
    parser.add_argument("--temperature", type=float, help="0: always the likeliest token (0.8)")
    for name, kind in (("top-p", float), ("top-k", int), ("min-p", float), ("repetition-penalty", float)):
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--seed", type=int, default=0)
    does = "end the text before this, as often as given; the name of a special token is one"
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help=does)
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="what it computes in (fp32)")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer's folder (default: the model's own)")


def _data_verbs(verbs: Any) -> None:
    verb = _verb(verbs, "recipes", "list what ships: recipes and corpora", "clapas recipes", _recipes)
    _json(verb)

    data = _verb(
        verbs,
        "data",
        "build token shards, look into them, mix them, take out of them",
        "clapas data build demo --out data/demo",
    )
    parts = data.add_subparsers(metavar="VERB", required=True)
    verb = _verb(
        parts, "build", "turn a corpus into token shards", "clapas data build demo --out data/demo", _data_build
    )
    verb.add_argument("corpus", help="a corpus file, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the corpus file")
    verb.add_argument("--out", type=Path, required=True, help="the folder of the shards")
    verb.add_argument("--tokenizer", type=Path, help="a tokenizer's folder (default: OUT/tokenizer)")
    verb.add_argument("--workers", type=int, help="processes (default: one a core)")
    _slurm_options(verb)
    _chat_options(parts)
    example = "clapas data status data/demo"
    verb = _verb(parts, "status", "show how far a build is, and what failed", example, _data_status)
    verb.add_argument("folder", type=Path)
    _json(verb)
    verb = _verb(parts, "inspect", "show what is in a folder of shards", "clapas data inspect data/demo", _data_inspect)
    verb.add_argument("folder", type=Path)
    does = "show what the steps dropped, with samples: of all steps, of a step, or for one of its reasons"
    verb.add_argument("--rejected", nargs="?", const="", metavar="STEP[.REASON]", help=does)
    verb.add_argument("--source", help="what was dropped of this source alone")
    _json(verb)
    verb = _verb(parts, "verify", "check every byte against the manifest", "clapas data verify data/demo", _data_verify)
    verb.add_argument("folder", type=Path)
    example = "clapas data perplexity mine.yaml --source wikipedia --out wikipedia.ngrams"
    verb = _verb(parts, "perplexity", "train the n-gram model that the step reads", example, _data_perplexity)
    verb.add_argument("corpus", help="a corpus file, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the corpus file")
    verb.add_argument("--source", required=True, metavar="NAME", help="the corpus's source that is the reference")
    verb.add_argument("--out", type=Path, required=True, help="the model's file")
    does = "the source whose documents say what is head, middle and tail (default: a tenth of the reference)"
    verb.add_argument("--calibrate", metavar="NAME", help=does)
    verb.add_argument("--order", type=int, default=3, help="words of the longest n-grams, 2 to 5 (3)")
    verb.add_argument("--workers", type=int, help="processes (default: one a core)")
    example = "clapas data mix pretrain/french-1b data.max_epochs=4"
    verb = _verb(parts, "mix", "show what a recipe reads of each source, or what a folder holds", example, _data_mix)
    verb.add_argument("recipe", help="a recipe, the name of a shipped one, or a folder of shards")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe")
    does = "draw it too: in the terminal, or into a file (.svg, .png, .pdf)"
    verb.add_argument("--plot", nargs="?", type=Path, const=Path("-"), metavar="FILE", help=does)
    _json(verb)
    example = "clapas data trace legi:LEGIARTI000018764571 --data data/demo"
    verb = _verb(parts, "trace", "show where a document comes from and what was done to it", example, _data_trace)
    verb.add_argument("document", metavar="DOC", help="an id, source:id, URL, text hash or shard#document")
    verb.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the folder of the shards")
    verb.add_argument("--full", action="store_true", help="show all of the text")
    _json(verb)
    example = "clapas data remove data/demo --ids requests.csv --reason 'right to erasure' --runs runs"
    verb = _verb(parts, "remove", "leave documents out from now on; tell which steps read them", example, _data_remove)
    verb.add_argument("folder", type=Path)
    does = "a document a line (as for `trace`); .jsonl and .csv with a key id, url, hash or document"
    verb.add_argument("--ids", type=Path, required=True, metavar="FILE", help=does)
    verb.add_argument("--reason", metavar="TEXT", help="kept in the manifest")
    verb.add_argument("--runs", type=Path, nargs="+", metavar="DIR", help="runs, or folders of runs (default: runs)")
    verb.add_argument("--ignore-missing", action="store_true", help="pass over names of no document")
    _json(verb)


def _tokenizer_verbs(verbs: Any) -> None:
    example = "clapas tokenizer train demo --vocab-size 8192 --out data/demo/tokenizer"
    tokenizer = _verb(verbs, "tokenizer", "train a tokenizer, compare it, look into it", example)
    parts = tokenizer.add_subparsers(metavar="VERB", required=True)
    example = "clapas tokenizer train demo --vocab-size 8192 --out data/demo/tokenizer"
    verb = _verb(parts, "train", "train a byte-level BPE on a corpus", example, _tokenizer_train)
    verb.add_argument("corpus", help="a corpus file, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the corpus file")
    verb.add_argument("--vocab-size", type=int, required=True, help="ids in all, special ones included")
    verb.add_argument("--out", type=Path, required=True, help="the tokenizer's folder")
    does = "digits in groups of three (llama3, the default) or one by one (qwen2)"
    verb.add_argument("--split", choices=("llama3", "qwen2"), default="llama3", help=does)
    does = "weigh languages so that the same sentences cost about the same in each: FOLDER's LANGUAGE.txt, or our own"
    verb.add_argument("--parity", type=Path, nargs="?", const=True, default=False, metavar="FOLDER", help=does)
    example = "clapas tokenizer extend Llama-3 --corpus mine.yaml --add 4000 --out data/mine/tokenizer"
    verb = _verb(parts, "extend", "add a corpus's words to a model's tokenizer", example, _tokenizer_extend)
    verb.add_argument("base", type=Path, help="a folder with tokenizer.json, of a byte-level BPE")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the corpus file")
    verb.add_argument("--corpus", required=True, help="a corpus file, or the name of a shipped one")
    verb.add_argument("--add", type=int, required=True, metavar="N", help="new ids, after the base's")
    verb.add_argument("--out", type=Path, required=True, help="the extended tokenizer's folder")
    example = "clapas tokenizer compare data/demo/tokenizer tekken --corpus demo"
    verb = _verb(parts, "compare", "measure tokenizers on the same texts", example, _tokenizer_compare)
    does = "a folder with tokenizer.json, such a file, a tekken.json, or tekken (of mistral-common)"
    verb.add_argument("tokenizers", nargs="+", metavar="TOKENIZER", help=does)
    verb.add_argument("--corpus", help="also on the text that this corpus holds out, by source")
    verb.add_argument("--text", type=Path, nargs="+", default=[], metavar="FILE", help="also on these text files")
    _json(verb)
    example = "clapas tokenizer inspect data/demo/tokenizer --corpus demo"
    verb = _verb(parts, "inspect", "find tokens that are unused, unreachable or odd", example, _tokenizer_inspect)
    verb.add_argument("tokenizer", metavar="TOKENIZER", help="a folder with tokenizer.json, or as compare takes it")
    verb.add_argument("--corpus", help="the training text of this corpus: which tokens it never or hardly has")
    verb.add_argument("--model", type=Path, help="a Hugging Face folder: which tokens' embeddings look untrained")
    _json(verb)


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


def _run_verbs(verbs: Any) -> None:
    example = "clapas train demo --nproc 2 train.steps=100"
    verb = _verb(verbs, "train", "train a recipe, or go on where its run stopped", example, _train)
    verb.add_argument("recipe", help="a recipe, or the name of a shipped one")
    verb.add_argument(
        "overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe, or files of them"
    )
    verb.add_argument("--nproc", type=int, default=1, metavar="N", help="ranks to start on this machine")
    does = "do not go on from an older checkpoint where the newest is damaged"
    verb.add_argument("--strict", action="store_true", help=does)
    example = "clapas distil mine.yaml objective.teacher=teacher --out data/teacher"
    verb = _verb(verbs, "distil", "store what a recipe's teacher says of its data", example, _distil)
    verb.add_argument("recipe", help="a recipe whose objective is distillation, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe")
    verb.add_argument("--out", type=Path, required=True, help="the folder, for objective.teacher; begun ones go on")
    verb.add_argument("--nproc", type=int, default=1, metavar="N", help="ranks to start on this machine")
    example = "clapas plan demo --site jean-zay --nodes 1 precision=bf16"
    verb = _verb(verbs, "plan", "foretell memory, speed and cost of a recipe on a site", example, _plan)
    verb.add_argument("recipe", help="a recipe, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe")
    verb.add_argument("--site", required=True, help="a site's file, or the name of a shipped one")
    verb.add_argument("--nodes", type=int, required=True, metavar="N")
    verb.add_argument("--partition", help="kind of node (default: the site's own)")
    verb.add_argument("--calibrate", type=Path, metavar="RUN", help="correct speeds by what this run measured")
    _json(verb)
    verb = _verb(verbs, "audit", "show the documents that a step read", "clapas audit runs/demo --step 100", _audit)
    verb.add_argument("run", type=Path, help="a run's folder")
    verb.add_argument("--step", type=int, required=True, help="which step, from 1")
    _json(verb)


def _launch_verbs(verbs: Any) -> None:
    example = "clapas launch mine.yaml --site jean-zay --account xxx@h100 --nodes 4 --time 20:00:00 --dry-run"
    verb = _verb(verbs, "launch", "send a recipe to a machine's queue", example, _launch)
    verb.add_argument("recipe", help="a recipe, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe")
    where = verb.add_mutually_exclusive_group(required=True)
    where.add_argument("--site", help="a site's file, or the name of a shipped one: jean-zay, adastra, meso-lr, local")
    where.add_argument("--hosts", type=Path, metavar="FILE", help="without Slurm: a host a line, reached by ssh")
    verb.add_argument("--nodes", type=int, default=1, metavar="N")
    verb.add_argument(
        "--partition", metavar="KIND", help="a kind of node, as the site's file calls it (default: its own)"
    )
    verb.add_argument("--account", help="who is charged (default: $SBATCH_ACCOUNT)")
    verb.add_argument("--qos", help="default: the first of the site's that takes the job")
    verb.add_argument("--time", metavar="HH:MM:SS", help="wall time (default: the most that the QoS gives)")
    verb.add_argument("--chain", type=int, metavar="N", help="N jobs, one after another, instead of one that requeues")
    verb.add_argument("--sweep", metavar="key=a,b,c", help="a run for each value, as a job array")
    verb.add_argument("--retries", type=int, default=5, metavar="N", help="failed attempts before it gives up (5)")
    verb.add_argument("--image", metavar="FILE", help="a container that the ranks run in")
    does = "use facts of the site that nobody has read at its own pages"
    verb.add_argument("--accept-unverified", action="store_true", help=does)
    verb.add_argument("--dry-run", action="store_true", help="print the batch script, and submit nothing")
    verb = _verb(verbs, "status", "show a launched run: jobs, steps, attempts", "clapas status runs/demo", _status)
    verb.add_argument("run", type=Path)
    _json(verb)
    verb = _verb(verbs, "cancel", "end a launched run, which saves first", "clapas cancel runs/demo", _cancel)
    verb.add_argument("run", type=Path)
    verb.add_argument("--now", action="store_true", help="do not wait for a save: the last checkpoint stands")
    verb = _verb(verbs, "logs", "show what a launched run's jobs print", "clapas logs runs/demo -f", _logs)
    verb.add_argument("run", type=Path)
    verb.add_argument("-f", "--follow", action="store_true", help="until no job is left in the queue")


def _checkpoint_verbs(verbs: Any) -> None:
    checkpoint = _verb(verbs, "checkpoint", "work with checkpoints", "clapas checkpoint list runs/demo")
    parts = checkpoint.add_subparsers(metavar="VERB", required=True)
    example = "clapas checkpoint list runs/demo"
    verb = _verb(parts, "list", "show the checkpoints of a run", example, _checkpoint_list)
    verb.add_argument("run", type=Path)
    _json(verb)
    example = "clapas checkpoint verify runs/demo"
    verb = _verb(parts, "verify", "check every byte against the hashes", example, _checkpoint_verify)
    verb.add_argument("source", type=Path, metavar="RUN_OR_CHECKPOINT")
    _json(verb)
    example = "clapas checkpoint diff runs/demo/checkpoints/step-00000500 runs/demo"
    verb = _verb(parts, "diff", "show in what two checkpoints differ", example, _checkpoint_diff)
    verb.add_argument("first", type=Path, metavar="RUN_OR_CHECKPOINT")
    verb.add_argument("second", type=Path, metavar="RUN_OR_CHECKPOINT")
    _json(verb)
    example = "clapas checkpoint soup runs/a runs/b --out runs/soup"
    verb = _verb(parts, "soup", "average the weights of several checkpoints", example, _checkpoint_soup)
    verb.add_argument("checkpoints", type=Path, nargs="+", metavar="RUN_OR_CHECKPOINT")
    verb.add_argument("--out", type=Path, required=True, help="a folder that becomes like a run's")
    _weights(verb)


def _model_verbs(verbs: Any) -> None:
    example = "clapas import models/lucie-7b --out runs/lucie-7b"
    verb = _verb(verbs, "import", "make a checkpoint of an open model's Hugging Face folder", example, _import)
    verb.add_argument("folder", type=Path, metavar="HF_DIR")
    verb.add_argument("--out", type=Path, required=True, help="a folder that becomes like a run's")
    example = "clapas export runs/demo --out model"
    verb = _verb(verbs, "export", "write a checkpoint as a Hugging Face folder", example, _export)
    verb.add_argument("source", type=Path, metavar="RUN_OR_CHECKPOINT")
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--dtype", choices=("bf16", "fp32"), help="of the weights (bf16)")
    verb.add_argument("--shard-size", metavar="SIZE", help="most bytes of a file of weights (5GB)")
    does = "keep rows of the vocabulary that no token has, and declare them (default: they are removed)"
    verb.add_argument("--keep-padding", action="store_true", help=does)
    what = verb.add_mutually_exclusive_group()
    what.add_argument("--adapter", action="store_true", help="of a run with lora, the adapter alone (PEFT, fp32)")
    what.add_argument("--gguf", metavar="Q,Q", help="GGUF files too, in OUT/gguf: of f32, bf16, q8_0, q4_0")
    _weights(verb)
    from clapas.evaluate.command import eval_options

    verb = _verb(verbs, "eval", "measure a model: bits per byte, tasks, probes", "clapas eval runs/demo", _eval)
    eval_options(verb)
    _weights(verb)
    _json(verb)
    verb = _verb(verbs, "generate", "go on with a text", "clapas generate runs/demo 'Le salarié a droit'", _generate)
    verb.add_argument("model", type=Path, help="a run, a checkpoint or a Hugging Face folder")
    verb.add_argument("prompts", nargs="*", default=[], metavar="PROMPT")
    does = "more prompts: a line each, or of .jsonl: a string, or an object with `prompt` or `messages`"
    verb.add_argument("--file", type=Path, metavar="FILE", help=does)
    _weights(verb)
    verb.add_argument("--max-new-tokens", type=int, default=100)
    _sampling(verb)
    verb.add_argument("--batch-size", type=int, default=8, metavar="N", help="texts that go on together (8)")
    verb.add_argument("--json", action="store_true", help="print a line of JSON for each prompt")
    verb = _verb(verbs, "chat", "talk with a model", "clapas chat runs/sft-demo", _chat)
    verb.add_argument("model", type=Path, help="a run, a checkpoint or a Hugging Face folder")
    verb.add_argument("--system", metavar="TEXT", help="what the model is told before the conversation")
    verb.add_argument("--template", help="a chat template for a model without: a file, or the name of a shipped one")
    _weights(verb)
    verb.add_argument("--max-new-tokens", type=int, default=500, help="of an answer (500)")
    _sampling(verb)


def _release_verbs(verbs: Any) -> None:
    from clapas.release.command import release_options

    does = "release a run: export, evidence, documents, gate, signature"
    release_options(_verb(verbs, "release", does, "", _release))
    verb = _verb(verbs, "keygen", "make a key to sign releases with", "clapas keygen --out keys", _keygen)
    does = "for key.pem (keep it secret) and key.pub.pem; a passphrase: $CLAPAS_KEY_PASSPHRASE"
    verb.add_argument("--out", type=Path, required=True, help=does)
    does = "check a release: sums, signature, that it loads, what it says"
    verb = _verb(verbs, "verify", does, "clapas verify release/demo --public-key keys/key.pub.pem", _verify)
    verb.add_argument("folder", type=Path)
    does = "whose signature it must have (default: the folder's own key's)"
    verb.add_argument("--public-key", type=Path, metavar="FILE", help=does)
    verb.add_argument("--identity", metavar="WHO", help="who must have signed without a key, through Sigstore")
    verb.add_argument("--identity-provider", metavar="URL", help="where they must have logged in")
    verb.add_argument("--quick", action="store_true", help="sums and signature alone")
    _json(verb)
    example = "clapas publish release/demo --repo OWNER/NAME"
    verb = _verb(verbs, "publish", "bring a release to a Hub, or into a mirror", example, _publish)
    verb.add_argument("folder", type=Path, metavar="DIR", help="what `clapas release` wrote")
    where = verb.add_mutually_exclusive_group(required=True)
    where.add_argument("--repo", metavar="OWNER/NAME", help="a model's repository on a Hub; $HF_TOKEN may write there")
    where.add_argument("--mirror", metavar="PLACE", help="a folder that is served, or s3://bucket/prefix")
    does = "the Hub's address (default: $HF_ENDPOINT) or, with --mirror, the S3 store's (default: $AWS_ENDPOINT_URL)"
    verb.add_argument("--endpoint", metavar="URL", help=does)
    verb.add_argument("--private", action="store_true", help="with --repo: a new repository is not public")
    does = "with --repo: do not download large files again; take the SHA-256 that the Hub states"
    verb.add_argument("--quick", action="store_true", help=does)
    verb.add_argument("--dry-run", action="store_true", help="show what would go where, and send nothing")
    _json(verb)
    verb = _verb(verbs, "report", "write a run as one HTML page", "clapas report runs/demo", _report)
    verb.add_argument("run", type=Path)
    verb.add_argument("--out", type=Path, help="the page (default: RUN/report.html)")
    verb.add_argument("--plot", action="store_true", help="draw the loss in the terminal too")
    example = "clapas doctor demo --site jean-zay --nodes 4"
    verb = _verb(verbs, "doctor", "find what would make a run fail", example, _doctor)
    verb.add_argument("recipe", nargs="?", help="what would run: a recipe, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe")
    verb.add_argument("--site", help="where: a site's file, or the name of a shipped one")
    verb.add_argument("--partition", help="the site's partition (default: the site's own default)")
    verb.add_argument("--nodes", type=int, metavar="N", help="of the site (default: 1)")
    does = "also start a job of two nodes or more: clocks, ports, all-reduce bandwidth (with --site, or in a job)"
    verb.add_argument("--probe", action="store_true", help=does)
    verb.add_argument("--hours", type=float, help="how long the run takes (default: as its own steps say, or the plan)")
    _json(verb)
