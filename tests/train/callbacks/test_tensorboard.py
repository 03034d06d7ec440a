"""TensorBoard's own reader finds the rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clapas.ledger.ledger import read_json_lines


def test_the_event_file_holds_the_rows(told_run: Path) -> None:
    """Each number of each step, the held-out split under its name, and the recipe."""
    events = EventAccumulator(str(told_run / "tensorboard"))
    events.Reload()
    rows = read_json_lines(told_run / "metrics.jsonl")
    steps = [row for row in rows if "split" not in row]
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    for key in ("loss", "grad_norm/attention", "time/forward"):
        found = [event.value for event in events.Scalars(key)]
        assert found == pytest.approx([row[key] for row in steps], rel=1e-6)
    held_out = [row["bits_per_byte"] for row in rows if "split" in row]
    assert [event.value for event in events.Scalars("heldout/bits_per_byte")] == pytest.approx(held_out)
    (text,) = events.Tensors("recipe/text_summary")
    assert b"hidden_size: 64" in text.tensor_proto.string_val[0]
