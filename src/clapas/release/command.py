"""`clapas release`: its options, and what they ask for."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from clapas.recipe.errors import UserError

EXAMPLES = """examples:
  clapas release runs/demo --template > release.yaml
  clapas keygen --out keys
  clapas release runs/demo --answers release.yaml --key keys/key.pem --out release/demo
  clapas release runs/demo --answers release.yaml --key keys/key.pem --out release/more --gguf q8_0 --revisions 1000"""


def release_options(verb: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    verb.formatter_class = argparse.RawDescriptionHelpFormatter
    verb.epilog = EXAMPLES
    verb.add_argument("run", type=Path, help="a finished run")
    verb.add_argument("--out", type=Path, help="the folder, which appears whole or not at all")
    verb.add_argument("--answers", type=Path, metavar="FILE", help="release.yaml: what only people know")
    verb.add_argument("--template", action="store_true", help="print a blank release.yaml for this run, and stop")
    who = verb.add_mutually_exclusive_group()
    who.add_argument("--key", type=Path, metavar="FILE", help="the private key that signs (`clapas keygen`)")
    does = "sign by Sigstore, online, as the identity that release.yaml names (signer)"
    who.add_argument("--keyless", action="store_true", help=does)
    verb.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16")
    verb.add_argument("--shard-size", default="5GB", metavar="SIZE", help="most bytes of a file of weights (5GB)")
    verb.add_argument("--gguf", metavar="Q,Q", help="GGUF files too: of f32, bf16, q8_0, q4_0")
    verb.add_argument("--revisions", metavar="STEP,STEP", help="intermediate checkpoints too, each a revision")
    verb.add_argument("--json", action="store_true", help="print release.json, or each check's result where refused")


def release_command(options: argparse.Namespace) -> None:
    """Release, or print the blank answers. Raises UserError for options that are missing."""
    from clapas.release.template import template

    if options.template:
        sys.stdout.write(template(options.run))
        return
    _need(options, "out", "the folder to write: --out DIR")
    _need(options, "answers", "--answers release.yaml; a blank one: `clapas release RUN --template > release.yaml`")
    if options.key is None and not options.keyless:
        wanted = "--key FILE (`clapas keygen --out keys` makes one), or --keyless"
        raise UserError("nobody would sign this release", where="--key", wanted=wanted)
    _released(options)


def _need(options: argparse.Namespace, name: str, wanted: str) -> None:
    if getattr(options, name) is None:
        raise UserError(f"--{name} is missing", where="clapas release", wanted=wanted)


def _released(options: argparse.Namespace) -> None:
    from clapas.release.answers import read_answers
    from clapas.release.export import shard_bytes_of
    from clapas.release.gate.check import Result
    from clapas.release.gate.gate import RefusedError, results_json, results_table
    from clapas.release.gguf.quantisations import read_names
    from clapas.release.release import Wishes, release
    from clapas.release.signature import Keyless, LocalKey

    answers = read_answers(options.answers)
    if options.keyless and answers.signer is None:
        wanted = "signer: {identity, provider}, the Sigstore identity that signs"
        raise UserError("--keyless needs to know who signs", where=options.answers, wanted=wanted)
    signer = Keyless(answers.signer.identity, answers.signer.provider) if options.keyless and answers.signer else None
    wishes = Wishes(
        signer or LocalKey(options.key),
        dtype=options.dtype,
        shard_bytes=shard_bytes_of(options.shard_size),
        gguf=() if options.gguf is None else read_names(options.gguf),
        revisions=_steps(options.revisions),
    )
    try:
        said: dict[str, Any] = release(options.run, options.out, answers, wishes)
    except RefusedError as refused:
        print(json.dumps(results_json(refused.results), ensure_ascii=False, indent=2) if options.json
              else results_table(refused.results))  # fmt: skip
        raise
    if options.json:
        print(json.dumps(said, ensure_ascii=False, indent=2))
        return
    print(results_table(Result(**result) for result in said["checks"]))
    print(f"released: {options.out}")


def _steps(text: str | None) -> tuple[int, ...]:
    """Steps, separated by commas."""
    words = [] if text is None else [word.strip() for word in text.split(",")]
    if bad := [word for word in words if not word.isdigit()]:
        raise UserError("not steps", where="--revisions", found=", ".join(map(repr, bad)), wanted="such as 500,1000")
    return tuple(map(int, words))
