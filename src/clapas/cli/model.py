"""A model from and into stock formats, measured, and asked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clapas.cli.verbs import add_verb, json_option, show, weights_option
from clapas.recipe.errors import UserError


def add_verbs(verbs: Any) -> None:
    """From `clapas import` to `clapas chat`."""
    _add_files(verbs)
    from clapas.evaluate.command import eval_options

    verb = add_verb(verbs, "eval", "measure a model: bits per byte, tasks, probes", "clapas eval runs/demo", _eval)
    eval_options(verb)
    weights_option(verb)
    json_option(verb)
    _add_talking(verbs)


def _add_files(verbs: Any) -> None:
    example = "clapas import models/lucie-7b --out runs/lucie-7b"
    verb = add_verb(verbs, "import", "make a checkpoint of an open model's Hugging Face folder", example, _import)
    verb.add_argument("folder", type=Path, metavar="HF_DIR")
    verb.add_argument("--out", type=Path, required=True, help="a folder that becomes like a run's")
    example = "clapas export runs/demo --out model"
    verb = add_verb(verbs, "export", "write a checkpoint as a Hugging Face folder", example, _export)
    verb.add_argument("source", type=Path, metavar="RUN_OR_CHECKPOINT")
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--dtype", choices=("bf16", "fp32"), help="of the weights (bf16)")
    verb.add_argument("--shard-size", metavar="SIZE", help="most bytes of a file of weights (5GB)")
    does = "keep rows of the vocabulary that no token has, and declare them (default: they are removed)"
    verb.add_argument("--keep-padding", action="store_true", help=does)
    what = verb.add_mutually_exclusive_group()
    what.add_argument("--adapter", action="store_true", help="of a run with lora, the adapter alone (PEFT, fp32)")
    what.add_argument("--gguf", metavar="Q,Q", help="GGUF files too, in OUT/gguf: of f32, bf16, q8_0, q4_0")
    weights_option(verb)


def _add_talking(verbs: Any) -> None:
    verb = add_verb(verbs, "generate", "go on with a text", "clapas generate runs/demo 'Le salarié a droit'", _generate)
    verb.add_argument("model", type=Path, help="a run, a checkpoint or a Hugging Face folder")
    verb.add_argument("prompts", nargs="*", default=[], metavar="PROMPT")
    does = "more prompts: a line each, or of .jsonl: a string, or an object with `prompt` or `messages`"
    verb.add_argument("--file", type=Path, metavar="FILE", help=does)
    weights_option(verb)
    verb.add_argument("--max-new-tokens", type=int, default=100)
    _sampling(verb)
    verb.add_argument("--batch-size", type=int, default=8, metavar="N", help="texts that go on together (8)")
    verb.add_argument("--json", action="store_true", help="print a line of JSON for each prompt")
    verb = add_verb(verbs, "chat", "talk with a model", "clapas chat runs/sft-demo", _chat)
    verb.add_argument("model", type=Path, help="a run, a checkpoint or a Hugging Face folder")
    verb.add_argument("--system", metavar="TEXT", help="what the model is told before the conversation")
    verb.add_argument("--template", help="a chat template for a model without: a file, or the name of a shipped one")
    weights_option(verb)
    verb.add_argument("--max-new-tokens", type=int, default=500, help="of an answer (500)")
    _sampling(verb)


def _sampling(parser: Any) -> None:
    parser.add_argument("--temperature", type=float, help="0: always the likeliest token (0.8)")
    for name, kind in (("top-p", float), ("top-k", int), ("min-p", float), ("repetition-penalty", float)):
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--seed", type=int, default=0)
    does = "end the text before this, as often as given; the name of a special token is one"
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help=does)
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="what it computes in (fp32)")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer's folder (default: the model's own)")


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
        show(command.tasks_known(), options.json, command.tasks_known_table)
        return None
    of_several = under_launcher()
    if options.nproc > 1 and not of_several:
        return run_ranks(command.words_of_ranks(options.arguments), options.nproc, None)
    if (measured := command.measure(options, of_several=of_several)) is not None:
        show(measured[0], options.json, lambda _: measured[1])
    return None


def _generate(options: argparse.Namespace) -> None:
    from clapas.evaluate.generate_command import generate_command

    generate_command(options)


def _chat(options: argparse.Namespace) -> None:
    from clapas.evaluate.chat_command import chat_command

    chat_command(options)
