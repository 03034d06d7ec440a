"""A run that crashes again and again before its next checkpoint does not start once more, whoever starts it.

The ledger knows: a segment that neither ended nor was interrupted by its user has crashed, and one that began at the
step where the next begins has brought nothing. Only starts of the same recipe on as many ranks count, so whatever is
changed in it lets the run try again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clapas.engine.ranks import Ranks
from clapas.ledger.ledger import read_ledger
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.train.run_folder import RunFolder

NO_CRASH = ("segment_end", "interrupted")
"""How a segment ends that did not crash: done, stopped and saved, or by a second Ctrl-C."""


def refuse_crash_loop(
    recipe: Recipe, ranks: Ranks, folder: RunFolder | None, hashes: dict[str, str], step: int
) -> None:
    """Raise UserError, on all ranks alike, where the last `faults.crash_loop` starts from `step` on all crashed."""
    limit = recipe.faults.crash_loop
    if limit is None:
        return
    error = None
    if folder and len(crashed := crashes(recipe.folder, hashes, step)) >= limit:
        error = _message(recipe.folder, crashed[-limit:], step)
    if agreed := ranks.agree_on_error(error):
        raise UserError(agreed)


def crashes(run: Path, hashes: dict[str, str], step: int) -> list[dict[str, Any]]:
    """The `segment_start` of the last segments, so far as they began at `step`, with these hashes, and crashed."""
    events = read_ledger(run) if (run / "ledger.jsonl").is_file() else []
    ended = {event["segment"] for event in events if event["event"] in NO_CRASH}
    found: list[dict[str, Any]] = []
    for start in reversed([event for event in events if event["event"] == "segment_start"]):
        is_same = all(start.get(name) == value for name, value in hashes.items())
        if start["step"] != step or not is_same or start["segment"] in ended:
            break
        found.insert(0, start)
    return found


def _message(run: Path, crashed: list[dict[str, Any]], step: int) -> str:
    """What has happened, how each segment ended, and how to go on."""
    ends = [f"segment {start['segment']:03d}: {_end(run, start['segment'])}" for start in crashed]
    count = len(crashed)
    return UserError(
        f"a crash loop: {count} start{'s' if count > 1 else ''} in a row from step {step} came to no checkpoint",
        where=run,
        found="; ".join(ends),
        way_out=f"mend the cause; then faults.crash_loop={count + 1}, or any other change of the recipe, lets it try "
        "again (null: always)",
    ).render()


def _end(run: Path, segment: int) -> str:
    """How a segment crashed, in a line: what it wrote before it ended, if anything."""
    for event in read_ledger(run):
        if event["event"] == "failed" and event["segment"] == segment:
            return event["error"].partition("\n")[0]
    for path in sorted((run / "segments" / f"{segment:03d}").glob("stall-rank-*.txt")):
        return path.read_text().partition("\n")[0].removeprefix("clapas: ")
    return "killed, without a word here; see what its ranks wrote to stderr"
