"""W&B, offline: the run's rows are in a file that `wandb sync` can send later."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from clapas.ledger.ledger import read_json_lines
from clapas.train.telemetry.columns import numbers
from commands import Clapas

BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, struct.Struct("<IHB")
FULL, FIRST, LAST = 1, 2, 4


def records(file: Path) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    data = file.read_bytes()
    assert data[:4] == b":W&B"
    at, parts = FILE_HEADER, b""
    while at + RECORD_HEADER.size <= len(data):
        if BLOCK - at % BLOCK < RECORD_HEADER.size:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = RECORD_HEADER.unpack_from(data, at)
        at += RECORD_HEADER.size
        parts = data[at : at + length] if kind in (FULL, FIRST) else parts + data[at : at + length]
        at += length
        if kind in (FULL, LAST):
            yield parts


def parsed(file: Path) -> Iterator[Any]:
    """The file's records as W&B's own messages."""
    for data in records(file):
        record = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue] protobuf makes it at import
        record.ParseFromString(data)
        yield record


def rows_of(file: Path) -> list[dict[str, Any]]:
    """The rows of metrics in a .wandb file."""
    histories = [record.history for record in parsed(file) if record.WhichOneof("record_type") == "history"]
    return [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in history.item}
        for history in histories
    ]


def run_of(file: Path) -> Any:
    """The run that a .wandb file is of: its id, its configuration."""
    return next(record.run for record in parsed(file) if record.WhichOneof("record_type") == "run")


def test_an_offline_run_holds_the_rows(told_run: Path) -> None:
    """Every number of every row, the held-out split's under its name; nothing was sent anywhere."""
    (file,) = (told_run / "wandb").glob("offline-run-*/*.wandb")
    found = rows_of(file)
    for row in read_json_lines(told_run / "metrics.jsonl"):
        kept = [other for other in found if other["_step"] == row["step"]]
        values = {key: value for other in kept for key, value in other.items()}
        assert values.items() >= numbers(row).items()


def test_an_offline_run_holds_the_recipe(told_run: Path) -> None:
    """As the run's configuration, section by section."""
    (file,) = (told_run / "wandb").glob("offline-run-*/*.wandb")
    config = {item.key: json.loads(item.value_json) for item in run_of(file).config.update}
    assert config["model"]["hidden_size"] == 64
    assert config["train"]["global_batch_size"] == 8


@pytest.mark.slow
def test_a_later_segment_is_the_same_run(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """A resume writes a file of its own under the same id, from the step after its checkpoint on."""
    overrides = (f"data.path={test_data}", "run_dir=run", "schedule.warmup_steps=1", "telemetry.wandb=offline")
    more = ("schedule.name=constant", "checkpoint.every=2", "evaluation.every=100")
    for steps in (2, 4):
        result = clapas("train", "test", *overrides, *more, f"train.steps={steps}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    first, second = sorted(
        (tmp_path / "run/wandb").glob("offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime
    )
    assert run_of(first).run_id == run_of(second).run_id
    assert sorted({row["_step"] for row in rows_of(second)}) == [3, 4]
