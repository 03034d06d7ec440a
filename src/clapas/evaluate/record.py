"""What was measured of a run, kept where a release looks for it.

RUN/evaluations/NNN-KIND.json          figures, and all that they were measured with
RUN/evaluations/NNN-KIND.items.jsonl   every answer behind them, one a line
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clapas import __version__
from clapas.checkpoint.committed import FOLDER, step_of
from clapas.evaluate.seal import model_seal
from clapas.ledger.ledger import Ledger
from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.hashes import file_hash

EVALUATIONS = "evaluations"
EVENT = "measured"
"""The ledger's event: `kind`, `file`, `sha256`, `items_sha256`, `seal`, `checkpoint_step`, `figures`."""


def run_of(source: Path) -> Path:
    """The run of a checkpoint. Raises UserError where it belongs to none."""
    run = source.parent.parent
    if FOLDER.fullmatch(source.name) is None or not (run / "ledger.jsonl").is_file():
        raise UserError(
            "this model is of no run, which could keep what was measured",
            where=source,
            wanted="a run, or one of its checkpoints",
            way_out="leave --record out, and keep what --json prints",
        )
    return run


def record(source: Path, kind: str, measured: dict[str, Any], figures: dict[str, Any]) -> Path:
    """Keep what was measured of a checkpoint, and say so in its run's ledger. Returns the file.

    measured: everything; its `items`, lists by name, are kept in a file of their own. figures: what the ledger tells.
    """
    run = run_of(source)
    folder = run / EVALUATIONS
    folder.mkdir(exist_ok=True)
    number = 1 + max((int(path.name[:3]) for path in folder.glob("[0-9][0-9][0-9]-*.json")), default=0)
    path = folder / f"{number:03d}-{kind}.json"
    items = path.with_suffix(".items.jsonl")
    atomic_write(items, b"".join(_line({"of": name, **item}) for name, own in _items(measured) for item in own))
    sealed = {
        "kind": kind,
        "clapas": __version__,
        "time": round(time.time(), 3),
        "checkpoint": source.name,
        "seal": model_seal(source),
        "items": {"file": items.name, "sha256": file_hash(items)},
    }
    whole = sealed | {name: value for name, value in measured.items() if name not in sealed}
    atomic_write(path, _line(whole, orjson.OPT_INDENT_2))
    Ledger(run).append(
        EVENT,
        kind=kind,
        file=f"{EVALUATIONS}/{path.name}",
        sha256=file_hash(path),
        items_sha256=sealed["items"]["sha256"],
        seal=sealed["seal"],
        checkpoint_step=step_of(source),
        figures=figures,
    )
    return path


def _items(measured: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    return list(measured.get("items", {}).items())


def _line(value: Any, options: int = 0) -> bytes:
    flags = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS | options
    return orjson.dumps(value, option=flags, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
