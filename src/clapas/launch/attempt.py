"""What a job decides before and after each of its attempts to train: whether, where, and once more or not.

    python -m clapas.launch.attempt begin|end --launch DIR --recipe FILE

The batch script asks, for it cannot know: srun hides how ranks end, and Slurm restarts a job without saying why. What
the run itself has written is what counts: `outcome.json` where it ended, its checkpoints where it was killed. The
answer is a few words on stdout; what it rests on goes to stderr, into the job's log.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from clapas.checkpoint.committed import committed_checkpoints, step_of
from clapas.engine.step_port import free_port
from clapas.launch import slurm
from clapas.launch.lead import UNKNOWN_SECONDS, lead_seconds
from clapas.launch.records import Launch, this_job, this_task
from clapas.launch.snapshot import code_version
from clapas.ledger.ledger import read_json_lines
from clapas.recipe.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_INTERRUPTED, EXIT_RUN_ME_AGAIN, ClapasError
from clapas.recipe.recipe import Recipe, read_recipe
from clapas.train.run_folder import read_outcome

FAILURES_OF_A_NODE = 2
"""After so many a launch does without it: one may be bad luck."""
NODE_FAILURE = re.compile(r"srun: error: Node failure on (\S+)")
NAMED_BY = ("stalled", "replicas_differ")
"""Events of the ledger that name the ranks at fault."""


def begin(launch: Launch, recipe: Recipe) -> str:
    """Before an attempt: `run PORT OUTCOME`, `requeue NODES` (it has one that failed twice), `done` or `stop`."""
    if newest_step(recipe) >= recipe.total_steps:
        say(f"trained already, {recipe.total_steps:,} steps")
        return "done"
    nodes = slurm.host_names(os.environ["SLURM_JOB_NODELIST"])
    close_what_was_killed(launch, recipe)
    events = launch.attempts()
    if reason := reason_to_stop(launch, events):
        say(reason)
        return "done" if launch.is_cancelled else "stop"
    bad = [node for node in excluded(events) if node in nodes]
    if bad and launch.facts["requeue"]:
        say(f"{', '.join(bad)} failed {FAILURES_OF_A_NODE} times: the job is queued again without")
        return f"requeue {','.join(excluded(events))}"
    if not code_version().same_as(launch.code):
        say(f"the code has changed since the launch (code.json); this attempt runs {code_version().facts()}")
    lead, given = lead_seconds(recipe.folder), launch.facts["lead_seconds"]
    if given < lead != UNKNOWN_SECONDS:
        say(f"saves take so long that {given} s before the time limit is late: launched again, it would be {lead} s")
    step = newest_step(recipe)
    (recipe.folder / "outcome.json").unlink(missing_ok=True)  # how the attempt before ended
    number = 1 + sum(event["event"] == "begin" for event in events)
    log = launch.log_of(this_job())
    log_bytes = log.stat().st_size if log.is_file() else 0
    launch.record("begin", attempt=number, job=this_job(), nodes=nodes, step=step, log=log.name, log_bytes=log_bytes)
    say(f"attempt {number} on {', '.join(nodes)}, from step {step}")
    recipe.folder.mkdir(parents=True, exist_ok=True)  # so that ranks which do not even begin can say so there
    return f"run {free_port(int(os.environ['SLURM_JOB_ID']))} {recipe.folder.resolve() / 'outcome.json'}"


def end(launch: Launch, recipe: Recipe, announced: bool, ran: bool = True) -> str:
    """After an attempt: `done`, `next` (the chain goes on), `requeue NODES` or `stop`.

    announced: USR1 came. ran: ranks were started; where USR1 came before, that is no failure.
    """
    began = [event for event in launch.attempts() if event["event"] == "begin"][-1]
    outcome = read_outcome(recipe.folder)
    code = outcome["exit_code"] if outcome else None
    how = outcome["reason"] if outcome else "killed, or it never began: its last words are above"
    has_failed = code not in (EXIT_DONE, EXIT_RUN_ME_AGAIN) or (
        code == EXIT_RUN_ME_AGAIN and newest_step(recipe) <= began["step"]
    )
    if announced and not ran:
        how, has_failed = "no time was left for the ranks to begin", False
    failed_nodes = nodes_at_fault(launch, began, recipe) if has_failed else []
    step = newest_step(recipe)
    launch.record(
        "end", attempt=began["attempt"], exit_code=code, reason=how, step=step, announced=announced,
        failed=has_failed, failed_nodes=failed_nodes,
    )  # fmt: skip
    say(f"attempt {began['attempt']} ended at step {step}: {how}")
    if code == EXIT_DONE:
        cancel_others(launch)
        return "done"
    if code in (EXIT_BAD_INPUT, EXIT_INTERRUPTED):
        say("the same again would end the same: mend it, then launch again")
        cancel_others(launch)
        return "stop"
    if reason := reason_to_stop(launch, launch.attempts()):
        say(reason)
        cancel_others(launch)
        return "done" if launch.is_cancelled else "stop"
    return go_on(launch, has_failed)


def go_on(launch: Launch, has_failed: bool) -> str:
    """How a run that is not over is continued. In a chain, too, a job that failed tries again itself."""
    facts = launch.facts
    if facts["requeue"] and (has_failed or not facts["chain"]):
        return f"requeue {','.join(excluded(launch.attempts()))}".strip()
    try:
        others = other_jobs(launch)
    except ClapasError as error:
        script = shlex.quote(str(launch.folder / "job.sh"))
        say(f"{error}. Should no job of the chain be left, it goes on with: sbatch {script}")
        return "next"
    if others:
        say(f"job {others[0]} of the chain goes on")
        return "next"
    why = "the chain is over" if facts["chain"] else "jobs of this site do not requeue themselves"
    say(f"the run is not done, and {why}. It goes on with: sbatch {shlex.quote(str(launch.folder / 'job.sh'))}")
    return "stop"


def reason_to_stop(launch: Launch, events: list[dict[str, Any]]) -> str | None:
    """Why no further attempt follows; None where one may."""
    if launch.is_cancelled:
        return "cancelled: the last checkpoint stands"
    ends = [event for event in events if event["event"] == "end"]
    failures, budget = sum(event["failed"] for event in ends), launch.facts["retries"]
    if ends and ends[-1]["failed"] and failures > budget:
        return f"{failures} attempts of this launch have failed, and its retry budget is {budget}: it goes on no more"
    return None


def close_what_was_killed(launch: Launch, recipe: Recipe) -> None:
    """Record the end of an attempt that did not live to do so: its node failed, or Slurm ended it."""
    events = launch.attempts()
    if not events or events[-1]["event"] == "end":
        return
    began = events[-1]
    outcome, step = read_outcome(recipe.folder), newest_step(recipe)
    code = outcome["exit_code"] if outcome else None
    has_saved = code == EXIT_RUN_ME_AGAIN and step > began["step"]  # as where another job takes the nodes
    nodes = nodes_at_fault(launch, began, recipe, ended_at(began))
    how = (
        f"a node failed: {', '.join(nodes)}"
        if nodes
        else "ended before it could say how: no time was left, or another job took its nodes"
    )
    say(f"attempt {began['attempt']} ended at step {step}: {how}")
    launch.record(
        "end", attempt=began["attempt"], exit_code=code, reason=how, step=step, announced=False,
        failed=bool(nodes) or not has_saved, failed_nodes=nodes,
    )  # fmt: skip


def ended_at(began: dict[str, Any]) -> float | None:
    """When an attempt ended that was killed (Unix time): its job was queued again then. None where Slurm says nothing.

    began: its first event.
    """
    if began["job"] != this_job():
        return None
    try:
        at = slurm.requeued_at(this_job())
    except ClapasError as error:
        say(str(error))
        return None
    return at if at and at > began["time"] else None


def nodes_at_fault(launch: Launch, began: dict[str, Any], recipe: Recipe, ended: float | None = None) -> list[str]:
    """The nodes of an attempt that failed, as far as Slurm or the ranks themselves name them.

    ended: Unix time; None: now, or unknown.
    """
    nodes: list[str] = began["nodes"]
    named = set(named_in_log(launch, began))
    try:
        named |= set(slurm.failed_since(nodes, began["time"], ended))
    except ClapasError as error:  # no reason to stop a run
        say(f"{error}. Which nodes failed is not known")
    ledger = recipe.folder / "ledger.jsonl"
    events = read_json_lines(ledger) if ledger.is_file() else []
    last = max((event["segment"] for event in events if event["event"] == "segment_start"), default=0)
    ranks = int(os.environ["SLURM_NTASKS"])
    for event in events:
        if event["event"] in NAMED_BY and event["segment"] == last and event["time"] >= began["time"]:
            named |= {nodes[rank * len(nodes) // ranks] for rank in event["ranks"]}
    return [node for node in nodes if node in named]


def named_in_log(launch: Launch, began: dict[str, Any]) -> list[str]:
    """The nodes of which srun said that they failed, in what its job printed since the attempt began."""
    log = launch.folder / began["log"]
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(began["log_bytes"])
        text = file.read().decode(errors="replace")
    return [node for nodes in NODE_FAILURE.findall(text) for node in slurm.host_names(nodes)]


def excluded(events: list[dict[str, Any]]) -> list[str]:
    """The nodes that have failed too often in this launch."""
    counts = Counter(node for event in events if event["event"] == "end" for node in event["failed_nodes"])
    return sorted(node for node, count in counts.items() if count >= FAILURES_OF_A_NODE)


def cancel_others(launch: Launch) -> None:
    """Take the rest of a chain out of the queue; where Slurm does not answer each of them finds out itself."""
    try:
        slurm.cancel(other_jobs(launch))
    except ClapasError as error:
        say(f"{error}. The rest of the chain is still in the queue")


def other_jobs(launch: Launch) -> list[str]:
    """The jobs of this launch's chain that still wait."""
    own = os.environ["SLURM_JOB_ID"]
    if not launch.facts["chain"]:
        return []
    return [job.id for job in slurm.queue(launch.jobs) if job.id != own]


def newest_step(recipe: Recipe) -> int:
    """Of the newest committed checkpoint; 0 where there is none."""
    return max(map(step_of, committed_checkpoints(recipe.folder / "checkpoints")), default=0)


def say(text: str) -> None:
    """A line in the job's log."""
    print(f"clapas: {time.strftime('%F %T')}: {text}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m clapas.launch.attempt")
    parser.add_argument("when", choices=("begin", "end"))
    parser.add_argument("--launch", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--announced", choices=("yes", "no"), default="no")
    parser.add_argument("--ran", choices=("yes", "no"), default="yes")
    options = parser.parse_args(arguments)
    launch, recipe = Launch(options.launch, this_task()), read_recipe(options.recipe)
    if options.when == "begin":
        print(begin(launch, recipe))
    else:
        print(end(launch, recipe, options.announced == "yes", options.ran == "yes"))


if __name__ == "__main__":
    main()
