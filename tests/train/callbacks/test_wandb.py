"""W&B, offline: the run's rows are in a file that `wandb sync` can send later."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto import wandb_internal_pb2

from commands import Clapas

SMALL = ("train.steps=4", "schedule.warmup_steps=1", "checkpoint.every=100", "evaluation.every=2")
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


def test_an_offline_run_holds_the_rows(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """The losses of each step, and the held-out split under its name; nothing was sent anywhere."""
    overrides = (f"data.path={test_data}", "run_dir=run", *SMALL, "telemetry.wandb=offline")
    result = clapas("train", "test", *overrides, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (file,) = (tmp_path / "run/wandb").glob("offline-run-*/*.wandb")
    rows: list[set[str]] = []
    for data in records(file):
        record = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue] protobuf makes it at import
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            rows.append({item.key or ".".join(item.nested_key) for item in record.history.item})
    assert sum("loss" in row for row in rows) == 4
    assert sum("heldout/bits_per_byte" in row for row in rows) == 2
