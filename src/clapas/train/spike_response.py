"""What a run does about a spike: leave the update out, go back to a checkpoint and leave the data out, or give up.

Each action is an event in the ledger. What a rollback has left out is read from there when the run begins again after
the same checkpoint, whether at once or in another process; so both go the same way.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from clapas.checkpoint.reader import CheckpointReader, open_newest_sound
from clapas.ledger.ledger import read_ledger
from clapas.loader.drawn import Window

if TYPE_CHECKING:
    from clapas.engine.ranks import Ranks
    from clapas.train.run import Run, Step


def respond(run: Run, step: Step) -> CheckpointReader | None:
    """Act upon the spike of a step, which left the weights as they were. Collective.

    Returns the checkpoint to go back to, or None where the run goes on with the next step.
    Raises ClapasError where it has been acted too often.
    """
    assert run.spikes is not None
    number = run.step + 1
    found = {"loss": _number(step.loss), "grad_norm": _number(step.grad_norm), "fault": step.fault}
    if run.spikes.is_exhausted:
        run.fail_diverged(number, f"{step.fault}, after {run.spikes.actions} spikes that were acted upon")
    reader = _newest_checkpoint(run) if run.spikes.config.action == "rollback" else None
    if reader is None:
        run.spikes.act()
        _say(run, f"step {number}: {step.fault}: update left out")
        run.record("spike", step=number, action="skip", **found)
        return None
    window = reader.step + 1, number
    samples = run.plan.interval(window[0]).start, run.plan.interval(window[1]).stop
    _say(run, f"step {number}: {step.fault}: back to step {reader.step}, leaving out the data read since")
    left_out = {"steps": window, "samples": samples}
    run.record("spike", step=number, action="rollback", to_step=reader.step, left_out=left_out, **found)
    return reader


def _newest_checkpoint(run: Run) -> CheckpointReader | None:
    """The newest sound one, once what is being saved is there too."""
    for callback in run.callbacks:
        callback.before_rollback(run)
    with run.ranks.said_once(), run.clock("checkpoint"):
        reader, damaged = open_newest_sound(run.recipe.folder / "checkpoints", run.ranks)
    for problem in damaged:
        run.record("damaged_checkpoint", error=str(problem))
    return reader


def left_out_before(reader: CheckpointReader | None) -> list[Window]:
    """The windows that had been left out when a checkpoint was written."""
    if reader is None:
        return []
    first_last = [entry["steps"] for entry in reader.manifest.training["loader"]["skipped"]]
    return [(first, last) for first, last in first_last]


def left_out_after(run: Path, step: int, ranks: Ranks) -> list[Window]:
    """The windows that were left out after the checkpoint at a step, by the ledger that rank 0 reads. Collective."""
    found: list[Window] = []
    if ranks.rank == 0 and (run / "ledger.jsonl").is_file():
        for event in read_ledger(run):
            if event["event"] == "checkpoint" and event["step"] == step:  # written anew: what followed is done anew
                found = []
            elif event["event"] == "spike" and event.get("to_step") == step:
                found.append(event["left_out"]["steps"])
    agreed: list[Any] = orjson.loads(ranks.broadcast(orjson.dumps(found).decode()) or "[]")
    return [(first, last) for first, last in agreed]


def _number(value: float | None) -> float | None:
    """None where JSON has no word for it."""
    return value if value is not None and math.isfinite(value) else None


def _say(run: Run, text: str) -> None:
    if run.is_first:
        print(text, file=sys.stderr)
