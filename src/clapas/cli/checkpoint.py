"""`clapas checkpoint`: listed, verified, compared, averaged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clapas.cli.verbs import add_verb, json_option, show, weights_option


def add_verbs(verbs: Any) -> None:
    """`clapas checkpoint …`."""
    checkpoint = add_verb(verbs, "checkpoint", "work with checkpoints", "clapas checkpoint list runs/demo")
    parts = checkpoint.add_subparsers(metavar="VERB", required=True)
    example = "clapas checkpoint list runs/demo"
    verb = add_verb(parts, "list", "show the checkpoints of a run", example, _list)
    verb.add_argument("run", type=Path)
    json_option(verb)
    example = "clapas checkpoint verify runs/demo"
    verb = add_verb(parts, "verify", "check every byte against the hashes", example, _verify)
    verb.add_argument("source", type=Path, metavar="RUN_OR_CHECKPOINT")
    json_option(verb)
    example = "clapas checkpoint diff runs/demo/checkpoints/step-00000500 runs/demo"
    verb = add_verb(parts, "diff", "show in what two checkpoints differ", example, _diff)
    verb.add_argument("first", type=Path, metavar="RUN_OR_CHECKPOINT")
    verb.add_argument("second", type=Path, metavar="RUN_OR_CHECKPOINT")
    json_option(verb)
    example = "clapas checkpoint soup runs/a runs/b --out runs/soup"
    verb = add_verb(parts, "soup", "average the weights of several checkpoints", example, _soup)
    verb.add_argument("checkpoints", type=Path, nargs="+", metavar="RUN_OR_CHECKPOINT")
    verb.add_argument("--out", type=Path, required=True, help="a folder that becomes like a run's")
    weights_option(verb)


def _list(options: argparse.Namespace) -> None:
    from clapas.checkpoint.inspect import checkpoints_table, list_checkpoints

    show(list_checkpoints(options.run), options.json, checkpoints_table)


def _verify(options: argparse.Namespace) -> None:
    from clapas.checkpoint.inspect import checkpoints_table, raise_for_damage, verify_checkpoints

    rows = verify_checkpoints(options.source)
    show(rows, options.json, checkpoints_table)
    raise_for_damage(rows)


def _diff(options: argparse.Namespace) -> None:
    from clapas.checkpoint.inspect import diff_checkpoints, diff_text

    show(diff_checkpoints(options.first, options.second), options.json, diff_text)


def _soup(options: argparse.Namespace) -> None:
    from clapas.checkpoint.soup import soup

    print(soup(options.checkpoints, options.out, weights=options.weights))
