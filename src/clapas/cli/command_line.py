"""The whole command line: what stands in it is read, a verb is run, and how that ends is the exit code."""

from __future__ import annotations

import argparse
import errno
import os
import sys

from clapas import __version__
from clapas.cli import checkpoint, data, launch, model, release, tokenizer, training
from clapas.recipe.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, ClapasError
from clapas.recipe.shipped import names_a_file

GROUPS = (data, tokenizer, training, launch, checkpoint, model, release)
"""Modules whose verbs are there, in the order of the help."""


def main(arguments: list[str] | None = None) -> None:
    """Run a verb and exit with its code (see `clapas.recipe.errors`)."""
    code = run(sys.argv[1:] if arguments is None else arguments)
    if "torch" in sys.modules:
        # all is written and closed; to take such libraries down takes up to a second, and C++ threads of gloo end it
        # once in dozens of runs in "terminate called without an active exception", exit code 134
        os._exit(_flushed(code))
    raise SystemExit(code)


def _flushed(code: int) -> int:
    """The exit code once what was printed has left the process: another where it could not."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # no reader, no room, or closed since the reader went
            code = code or EXIT_FAILED
    return code


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
    for group in GROUPS:
        group.add_verbs(verbs)
    return parser
