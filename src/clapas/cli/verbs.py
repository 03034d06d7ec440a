"""What verbs share: how one is added, options that several have, how a result is shown."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from clapas.recipe.errors import UserError


def add_verb(verbs: Any, name: str, does: str, example: str, function: Callable[..., Any] | None = None) -> Any:
    parser = verbs.add_parser(
        name, help=does, description=does[0].upper() + does[1:] + ".", epilog=f"example: {example}"
    )
    parser.set_defaults(parser=parser)
    if function is not None:
        parser.set_defaults(verb=function)
    return parser


def json_option(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def weights_option(parser: Any) -> None:
    does = "of a checkpoint: as they train, or averaged (default: averaged where an average was kept)"
    parser.add_argument("--weights", choices=("raw", "average"), help=does)


def show(value: Any, as_json: bool, table: Callable[[Any], str]) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2) if as_json else table(value))


def refuse_alone(options: argparse.Namespace, needed: str, names: tuple[str, ...]) -> None:
    """Raise UserError for an option that means something beside another alone, which is not given."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value is not False:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} needs {needed}", where=option, way_out=f"add {needed}, or leave {option} out")
