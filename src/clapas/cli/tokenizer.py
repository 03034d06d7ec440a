"""`clapas tokenizer`: trained, extended, compared, looked into."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clapas.cli.verbs import add_verb, json_option, show


def add_verbs(verbs: Any) -> None:
    """`clapas tokenizer …`."""
    example = "clapas tokenizer train demo --vocab-size 8192 --out data/demo/tokenizer"
    tokenizer = add_verb(verbs, "tokenizer", "train a tokenizer, compare it, look into it", example)
    parts = tokenizer.add_subparsers(metavar="VERB", required=True)
    example = "clapas tokenizer train demo --vocab-size 8192 --out data/demo/tokenizer"
    verb = add_verb(parts, "train", "train a byte-level BPE on a corpus", example, _train)
    verb.add_argument("corpus", help="a corpus file, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the corpus file")
    verb.add_argument("--vocab-size", type=int, required=True, help="ids in all, special ones included")
    verb.add_argument("--out", type=Path, required=True, help="the tokenizer's folder")
    does = "digits in groups of three (llama3, the default) or one by one (qwen2)"
    verb.add_argument("--split", choices=("llama3", "qwen2"), default="llama3", help=does)
    does = "weigh languages so that the same sentences cost about the same in each: FOLDER's LANGUAGE.txt, or our own"
    verb.add_argument("--parity", type=Path, nargs="?", const=True, default=False, metavar="FOLDER", help=does)
    example = "clapas tokenizer extend Llama-3 --corpus mine.yaml --add 4000 --out data/mine/tokenizer"
    verb = add_verb(parts, "extend", "add a corpus's words to a model's tokenizer", example, _extend)
    verb.add_argument("base", type=Path, help="a folder with tokenizer.json, of a byte-level BPE")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the corpus file")
    verb.add_argument("--corpus", required=True, help="a corpus file, or the name of a shipped one")
    verb.add_argument("--add", type=int, required=True, metavar="N", help="new ids, after the base's")
    verb.add_argument("--out", type=Path, required=True, help="the extended tokenizer's folder")
    example = "clapas tokenizer compare data/demo/tokenizer tekken --corpus demo"
    verb = add_verb(parts, "compare", "measure tokenizers on the same texts", example, _compare)
    does = "a folder with tokenizer.json, such a file, a tekken.json, or tekken (of mistral-common)"
    verb.add_argument("tokenizers", nargs="+", metavar="TOKENIZER", help=does)
    verb.add_argument("--corpus", help="also on the text that this corpus holds out, by source")
    verb.add_argument("--text", type=Path, nargs="+", default=[], metavar="FILE", help="also on these text files")
    json_option(verb)
    example = "clapas tokenizer inspect data/demo/tokenizer --corpus demo"
    verb = add_verb(parts, "inspect", "find tokens that are unused, unreachable or odd", example, _inspect)
    verb.add_argument("tokenizer", metavar="TOKENIZER", help="a folder with tokenizer.json, or as compare takes it")
    verb.add_argument("--corpus", help="the training text of this corpus: which tokens it never or hardly has")
    verb.add_argument("--model", type=Path, help="a Hugging Face folder: which tokens' embeddings look untrained")
    json_option(verb)


def _train(options: argparse.Namespace) -> None:
    from clapas_data.tokenizer.train import train

    chosen = {"split": options.split, "parity": options.parity}
    train(options.corpus, vocab_size=options.vocab_size, out=options.out, overrides=options.overrides, **chosen)


def _extend(options: argparse.Namespace) -> None:
    from clapas_data.tokenizer.extend import extend

    extend(options.base, options.corpus, options.add, options.out, options.overrides)


def _compare(options: argparse.Namespace) -> None:
    from clapas_data.tokenizer.compare import compare
    from clapas_data.tokenizer.show import comparison_table

    show(compare(options.tokenizers, options.corpus, options.text), options.json, comparison_table)


def _inspect(options: argparse.Namespace) -> None:
    from clapas_data.tokenizer.inspect import inspect
    from clapas_data.tokenizer.show import inspection_table

    show(inspect(options.tokenizer, options.corpus, options.model), options.json, inspection_table)
